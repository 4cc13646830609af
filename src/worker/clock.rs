//! An estimate of the database's time, without a query.

use std::sync::Mutex;
use std::time::Instant as Monotonic;

use chrono::{TimeDelta, Utc};

use crate::domain::interval::Timestamp;

/// The database's last known time plus the monotonic time since. Before the first [`Clock::set`] it
/// is this machine's time. It is only used for `sent-at`, never for decisions (P8).
#[derive(Default)]
pub struct Clock(Mutex<Option<(Timestamp, Monotonic)>>);

impl Clock {
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().expect("nothing panics while holding it") = Some((now, Monotonic::now()));
    }

    #[expect(clippy::disallowed_methods, reason = "told to terminals, decides nothing (P8)")]
    pub fn now(&self) -> Timestamp {
        match *self.0.lock().expect("nothing panics while holding it") {
            Some((then, at)) => then + TimeDelta::from_std(at.elapsed()).unwrap_or_default(),
            None => Utc::now(),
        }
    }
}
