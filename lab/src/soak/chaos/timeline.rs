//! Records and prints the faults of a run.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::Result;
use serde_json::json;
use tokio::time::Instant;

use super::faults::Fault;
use crate::history::History;

pub struct Timeline {
    began: Instant,
    /// By fault: how often it was brought about, and how often it could not be.
    counts: Mutex<BTreeMap<&'static str, (usize, usize)>>,
    /// Faults that last at the moment.
    current: Mutex<Vec<&'static str>>,
    /// Faults that were requested by name.
    wanted: Vec<String>,
}

impl Timeline {
    pub fn new(began: Instant, wanted: Vec<String>) -> Self {
        Self { began, counts: Mutex::default(), current: Mutex::default(), wanted }
    }

    pub fn begin(&self, name: &'static str) -> Instant {
        self.current.lock().expect("no panics").push(name);
        Instant::now()
    }

    /// Records and prints a fault that is over.
    pub fn end(&self, began: Instant, fault: &Fault, told: Result<String>, history: &History) {
        {
            let mut current = self.current.lock().expect("no panics");
            if let Some(index) = current.iter().position(|name| *name == fault.name) {
                current.remove(index);
            }
        }
        {
            let mut counts = self.counts.lock().expect("no panics");
            let (done, vain) = counts.entry(fault.name).or_default();
            *(if told.is_ok() { done } else { vain }) += 1;
        }
        let text = match &told {
            Ok(text) => text.clone(),
            Err(error) => format!("in vain: {error:#}"),
        };
        let lasted = began.elapsed().as_secs_f64();
        let from = (began - self.began).as_secs();
        println!("{:02}:{:02}  {} ({lasted:.1} s): {text}", from / 60, from % 60, fault.name);
        history.note("fault", json!({"name": fault.name, "lasted": lasted, "told": text}));
    }

    /// Faults that last at the moment, for the progress line.
    pub fn current(&self) -> String {
        self.current.lock().expect("no panics").join(", ")
    }

    /// How many faults were brought about.
    pub fn done(&self) -> usize {
        self.counts.lock().expect("no panics").values().map(|(done, _)| done).sum()
    }

    pub fn is_wanted(&self, fault: &Fault) -> bool {
        self.wanted.iter().any(|name| name == fault.name)
    }

    /// Faults that were requested and never brought about.
    pub fn missing(&self) -> Vec<String> {
        let counts = self.counts.lock().expect("no panics");
        let done = |name: &String| counts.get(name.as_str()).is_some_and(|(done, _)| *done > 0);
        self.wanted.iter().filter(|name| !done(name)).cloned().collect()
    }

    pub fn print(&self) {
        let counts = self.counts.lock().expect("no panics");
        let words = counts.iter().map(|(name, (done, vain))| match vain {
            0 => format!("{done} {name}"),
            _ => format!("{done} {name} ({vain} in vain)"),
        });
        let kinds = counts.values().filter(|(done, _)| *done > 0).count();
        let done: usize = counts.values().map(|(done, _)| done).sum();
        println!("faults: {done} of {kinds} kinds: {}", words.collect::<Vec<_>>().join(", "));
    }
}
