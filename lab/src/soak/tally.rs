//! Counters for the progress line, and failures during the run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter that tasks share.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub struct Tally {
    pub started: Count,
    pub ended: Count,
    pub sent: Count,
    pub answers: Count,
    pub notices: Count,
    /// Workers killed.
    pub kills: Count,
    /// Workers that stopped gracefully.
    pub stops: Count,
    /// How often no worker was left.
    pub blackouts: Count,
    pub billed: Count,
    /// Connections of the biller that broke before it acknowledged.
    pub biller_losses: Count,
    /// Connections that patient terminals have lost.
    pub losses: Count,
    /// Workers that ended by themselves because an engine was away when they started.
    pub gave_up: Count,
    /// Commands that the broker did not accept.
    pub refused: Count,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    /// Notes something that must never happen, whatever is killed.
    pub fn failed(&self, what: String) {
        eprintln!("soak: {what}");
        self.failures.lock().expect("no panics").push(what);
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no panics").clone()
    }
}
