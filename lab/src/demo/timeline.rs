//! Prints events as they happen, and records failed checks.

use std::fmt::Debug;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

/// Width of the column with sender and receiver.
const ENDS_WIDTH: usize = 28;

/// The output and the failed checks so far.
pub struct Timeline {
    started: Instant,
    /// Suffix of all ids of this run, which is not printed.
    suffix: String,
    mismatches: Mutex<usize>,
}

impl Timeline {
    pub fn new(suffix: &str) -> Self {
        Self { started: Instant::now(), suffix: format!("-{suffix}"), mismatches: Mutex::default() }
    }

    pub fn scene(&self, title: &str) {
        print(&format!("\n== {title}"));
    }

    /// Prints a message.
    pub fn said(&self, who: &str, whom: &str, what: &str) {
        self.line(&format!("{who} -> {whom}"), what);
    }

    /// Prints an action.
    pub fn did(&self, who: &str, what: &str) {
        self.line(who, what);
    }

    fn line(&self, ends: &str, what: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let [ends, what] = [ends, what].map(|text| text.replace(&self.suffix, ""));
        print(&format!("+{seconds:>7.3} s  {ends:<ENDS_WIDTH$}  {what}"));
    }

    /// Checks a condition.
    pub fn check<T: PartialEq + Debug>(&self, what: &str, found: T, expected: T) {
        match found == expected {
            true => self.fine(what),
            false => self.mismatch(&format!("{what}: expected {expected:?}, found {found:?}")),
        }
    }

    /// Checks a fact.
    pub fn check_that(&self, what: &str, holds: bool) {
        match holds {
            true => self.fine(what),
            false => self.mismatch(&format!("not so: {what}")),
        }
    }

    fn fine(&self, what: &str) {
        print(&format!("             ok  {}", what.replace(&self.suffix, "")));
    }

    pub fn mismatch(&self, text: &str) {
        *self.mismatches.lock().expect("no panics") += 1;
        print(&format!("MISMATCH: {text}"));
    }

    pub fn mismatches(&self) -> usize {
        *self.mismatches.lock().expect("no panics")
    }

    pub fn sum_up(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        match self.mismatches() {
            0 => print(&format!("\nEverything was as it should be, after {seconds:.0} s.")),
            count => print(&format!("\nMismatches: {count}, after {seconds:.0} s.")),
        }
    }
}

/// Ignores errors: the demonstration goes on if its output is no longer read.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
