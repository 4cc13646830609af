//! The database's clock, as far as a replica knows it without asking.

use std::sync::Mutex;
use std::time::Instant as Monotonic;

use chrono::{TimeDelta, Utc};

use crate::domain::interval::Timestamp;

/// Remembers the database's time and adds what passed since, by a monotonic clock. It only dates
/// messages to terminals (`sent-at`) and decides nothing (P8).
///
/// Before the first [`Clock::set`] it falls back to this machine's clock.
#[derive(Default)]
pub struct Clock(Mutex<Option<(Timestamp, Monotonic)>>);

impl Clock {
    /// Sets the database's time.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().expect("nothing panics while holding it") = Some((now, Monotonic::now()));
    }

    /// The database's time now.
    #[expect(clippy::disallowed_methods, reason = "told to terminals, decides nothing (P8)")]
    pub fn now(&self) -> Timestamp {
        match *self.0.lock().expect("nothing panics while holding it") {
            Some((then, at)) => then + TimeDelta::from_std(at.elapsed()).unwrap_or_default(),
            None => Utc::now(),
        }
    }
}
