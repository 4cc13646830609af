//! The database's time without a query, from a clock that no administrator sets.
//!
//! Each answer of the database gives a lower bound on its clock: it was read before the answer came. The largest
//! recent bound is used, so the gate is never ahead: nobody is admitted early or cut before the end. It is late by
//! the fastest answer's way, below a millisecond in a local network.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chrono::TimeDelta;
use rustix::time::{ClockId, clock_gettime};

use crate::domain::interval::Timestamp;

/// Bounds older than this are forgotten once there are newer ones: two crystals drift apart by some
/// milliseconds in that time, and a database's clock that is set back is followed after it.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Time since the machine started. It goes on while the machine sleeps, and nothing sets it.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The database's clock.
#[derive(Default)]
pub struct Clock(Mutex<VecDeque<Bound>>);

/// At this time since boot, the database's clock was not behind this.
#[derive(Clone, Copy)]
struct Bound {
    at: Duration,
    database: Timestamp,
}

impl Bound {
    /// What it says about another time.
    fn extended_to(&self, at: Duration) -> Timestamp {
        let nanos = at.as_nanos() as i128 - self.at.as_nanos() as i128;
        self.database + TimeDelta::nanoseconds(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

impl Clock {
    /// Takes note of an answer that has just come.
    pub fn note(&self, database: Timestamp) {
        self.note_at(since_boot(), database);
    }

    /// Takes note of what was known at some time since boot.
    pub fn note_at(&self, at: Duration, database: Timestamp) {
        let mut bounds = self.lock();
        bounds.retain(|bound| bound.at + REMEMBERED > at);
        bounds.push_back(Bound { at, database });
    }

    /// The database's time; `None` before its first answer.
    pub fn now(&self) -> Option<Timestamp> {
        self.at(since_boot())
    }

    fn at(&self, at: Duration) -> Option<Timestamp> {
        self.lock().iter().map(|bound| bound.extended_to(at)).max()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Bound>> {
        self.0.lock().expect("nothing panics with it")
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn second(second: f64) -> Duration {
        Duration::from_secs_f64(second)
    }

    fn time(second: f64) -> Timestamp {
        DateTime::from_timestamp_millis((second * 1e3) as i64).unwrap()
    }

    #[test]
    fn the_fastest_recent_answer_counts() {
        let clock = Clock::default();
        assert_eq!(clock.now(), None);
        clock.note_at(second(10.0), time(1_000.0));
        // Half a second under way.
        clock.note_at(second(11.5), time(1_001.0));
        assert_eq!(clock.at(second(12.0)), Some(time(1_002.0)));
        assert_eq!(clock.at(second(9.0)), Some(time(999.0)));
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let clock = Clock::default();
        clock.note_at(second(10.0), time(5_000.0));
        clock.note_at(second(20.0), time(1_010.0));
        assert_eq!(clock.at(second(20.0)), Some(time(5_010.0)), "set back, and not sure yet");
        clock.note_at(second(71.0), time(1_061.0));
        assert_eq!(clock.at(second(71.0)), Some(time(1_061.0)));
        clock.note_at(second(72.0), time(9_000.0));
        assert_eq!(clock.at(second(73.0)), Some(time(9_001.0)), "set forward");
    }
}
