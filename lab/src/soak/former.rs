//! When sessions with a former primary may have answered queries, from what it knew last.

use std::sync::Mutex;

use holdfast::domain::interval::Timestamp;

#[derive(Debug, Clone, Copy)]
struct Reign {
    /// Another server was about to be promoted.
    from: Timestamp,
    /// No session was left; `None` while there is one.
    until: Option<Timestamp>,
}

#[derive(Default)]
pub struct Former(Mutex<Vec<Reign>>);

impl Former {
    /// From now on a server is a former one, and its sessions are left alone. Returns a number for
    /// [`end`](Self::end).
    pub fn begin(&self, now: Timestamp) -> usize {
        let mut all = self.0.lock().expect("no panics");
        all.push(Reign { from: now, until: None });
        all.len() - 1
    }

    pub fn end(&self, number: usize, now: Timestamp) {
        self.0.lock().expect("no panics")[number].until = Some(now);
    }

    /// Whether a query sent at that time may have been answered by a server that was a former one when the
    /// reservation was made, so that it does not know it.
    pub fn lacks(&self, held_at: Timestamp, sent_at: Timestamp) -> bool {
        let all = self.0.lock().expect("no panics");
        let lasts = |reign: &&Reign| reign.until.is_none_or(|until| sent_at <= until);
        all.iter().filter(lasts).any(|reign| held_at >= reign.from)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn only_what_was_made_since_is_unknown_and_only_while_sessions_are_left() {
        let former = Former::default();
        assert!(!former.lacks(at(110), at(120)), "no server is a former one");
        let number = former.begin(at(100));
        assert!(former.lacks(at(110), at(120)));
        assert!(!former.lacks(at(90), at(120)), "it was there before");
        former.end(number, at(130));
        assert!(former.lacks(at(110), at(129)));
        assert!(!former.lacks(at(110), at(131)), "no session is left");
    }
}
