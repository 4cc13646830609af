//! When the database's clock was off, and by how much.

use std::sync::Mutex;

use chrono::TimeDelta;
use holdfast::domain::interval::Timestamp;

/// A clock further ahead than this shows no instant of the rest of the run, so its readings can be told
/// from the others.
const FAR: TimeDelta = TimeDelta::days(1);

/// Longest time from a reading to when it is known that the clock was set.
const SLACK: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug, Clone, Copy)]
struct Jump {
    by: TimeDelta,
    /// In true time, before the clock was set.
    began: Timestamp,
    /// In true time, once it was right again for everybody; `None` while it is off.
    ended: Option<Timestamp>,
}

#[derive(Default)]
pub struct Jumps(Mutex<Vec<Jump>>);

impl Jumps {
    /// The clock is about to be set.
    pub fn begin(&self, by: TimeDelta, now: Timestamp) {
        self.0.lock().expect("no panics").push(Jump { by, began: now, ended: None });
    }

    /// The clock is right again.
    pub fn end(&self, now: Timestamp) {
        let mut all = self.0.lock().expect("no panics");
        all.iter_mut().filter(|jump| jump.ended.is_none()).for_each(|jump| jump.ended = Some(now));
    }

    pub fn any_back(&self) -> bool {
        self.0.lock().expect("no panics").iter().any(|jump| jump.by < TimeDelta::zero())
    }

    /// The true time of a reading. A clock that was set back shows instants twice, so such a reading is
    /// returned as it is.
    pub fn true_time(&self, reading: Timestamp) -> Timestamp {
        let all = self.0.lock().expect("no panics");
        let of = |jump: &&Jump| {
            let until = jump.ended.map_or(reading - jump.by, |ended| ended + SLACK);
            jump.by > FAR && (jump.began - SLACK..=until).contains(&(reading - jump.by))
        };
        all.iter().find(of).map_or(reading, |jump| reading - jump.by)
    }

    /// When the clock first showed an instant, in true time after `since`: when it was set past it, or at
    /// the instant itself. For a moment after it was set, some sessions still read the right time.
    pub fn reached(&self, instant: Timestamp, since: Timestamp) -> Timestamp {
        let all = self.0.lock().expect("no panics");
        let lasts = |jump: &&Jump| jump.ended.is_none_or(|ended| since < ended);
        let past = all.iter().filter(lasts).filter(|jump| jump.began + jump.by >= instant);
        past.map(|jump| jump.began.max(since)).fold(instant, Timestamp::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn a_clock_ahead_reaches_an_instant_early_and_once() {
        let jumps = Jumps::default();
        jumps.begin(TimeDelta::days(500), at(100));
        jumps.end(at(120));
        jumps.begin(TimeDelta::days(500), at(200));
        assert_eq!(jumps.reached(at(150), at(50)), at(100));
        assert_eq!(jumps.reached(at(300), at(130)), at(200));
        assert_eq!(jumps.reached(at(90), at(50)), at(90), "before the clock was set");
        assert_eq!(
            jumps.reached(at(150), at(101)),
            at(101),
            "by a session that did not notice yet"
        );
        jumps.end(at(220));
        assert_eq!(jumps.reached(at(300), at(230)), at(300), "after it was right again");
        assert!(!jumps.any_back());
    }

    #[test]
    fn a_reading_far_ahead_has_one_true_time() {
        let (jumps, far) = (Jumps::default(), TimeDelta::days(500));
        jumps.begin(far, at(100));
        jumps.end(at(120));
        assert_eq!(jumps.true_time(at(110)), at(110), "of the right clock");
        assert_eq!(jumps.true_time(at(110) + far), at(110));
        assert_eq!(jumps.true_time(at(9_000) + far), at(9_000) + far, "of no jump");
    }

    #[test]
    fn a_clock_set_back_is_taken_as_it_is() {
        let jumps = Jumps::default();
        jumps.begin(TimeDelta::minutes(-5), at(1_000));
        assert!(jumps.any_back());
        assert_eq!(jumps.true_time(at(800)), at(800));
        assert_eq!(jumps.reached(at(1_100), at(900)), at(1_100));
    }
}
