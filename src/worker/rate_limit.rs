//! Limits each terminal to N commands per second per partition, and to N queries per second per
//! worker, with bursts of 2N. Excess is refused without the database, so that others are served
//! meanwhile.
//!
//! Each worker counts by its own monotonic clock. Refusals are not stored, and the message id stays
//! free. A takeover resets the count, in the terminal's favour.

use std::collections::HashMap;
use std::time::Instant;

use tracing::warn;

use crate::domain::id::TerminalId;

/// A burst, in seconds of the rate.
const BURST_SECONDS: f64 = 2.0;

/// Factor on the limit for reconfirmations and withdrawals. They have a deadline and are counted
/// separately, so that no other command can cost a terminal a reservation. The limit on holds keeps
/// them few.
const URGENT_FACTOR: f64 = 10.0;

/// Number of terminals from which on quiet ones are dropped.
const REMEMBERED: usize = 1_024;

/// Commands that still count against the rate.
struct Bucket {
    ordinary: f64,
    urgent: f64,
    at: Instant,
    limited: bool,
}

impl Bucket {
    fn drain(&mut self, rate: f64, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.ordinary = (self.ordinary - seconds * rate).max(0.0);
        self.urgent = (self.urgent - seconds * rate * URGENT_FACTOR).max(0.0);
        self.at = now;
    }

    fn is_empty(&self) -> bool {
        self.ordinary == 0.0 && self.urgent == 0.0
    }
}

/// Whether a message is counted with those that have a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Requests and queries.
    Ordinary,
    /// Reconfirmations and withdrawals.
    Deadline,
}

/// Recent messages to one partition, or of the query queue, by terminal.
#[derive(Default)]
pub struct RateLimit {
    buckets: HashMap<TerminalId, Bucket>,
    look_again_at: usize,
}

impl RateLimit {
    /// Counts a message unless it exceeds `rate` per second.
    pub fn exceeds(
        &mut self,
        terminal: &TerminalId,
        urgency: Urgency,
        rate: u32,
        now: Instant,
    ) -> bool {
        let rate = f64::from(rate);
        if self.buckets.len() >= self.look_again_at.max(REMEMBERED) {
            self.forget(rate, now);
        }
        let bucket = self.buckets.entry(terminal.clone()).or_insert(Bucket {
            ordinary: 0.0,
            urgent: 0.0,
            at: now,
            limited: false,
        });
        bucket.drain(rate, now);
        if bucket.is_empty() {
            bucket.limited = false;
        }
        let (level, factor) = match urgency {
            Urgency::Deadline => (&mut bucket.urgent, URGENT_FACTOR),
            Urgency::Ordinary => (&mut bucket.ordinary, 1.0),
        };
        if *level + 1.0 <= rate * BURST_SECONDS * factor {
            *level += 1.0;
            return false;
        }
        if !bucket.limited {
            bucket.limited = true;
            warn!(terminal = terminal.as_str(), "rate limit exceeded; some messages are refused");
        }
        true
    }

    fn forget(&mut self, rate: f64, now: Instant) {
        self.buckets.retain(|_, bucket| {
            bucket.drain(rate, now);
            !bucket.is_empty()
        });
        self.look_again_at = self.buckets.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn terminal(id: &str) -> TerminalId {
        TerminalId::parse(id).unwrap()
    }

    /// How many of 1 000 pass.
    fn through(
        limit: &mut RateLimit,
        terminal: &TerminalId,
        urgency: Urgency,
        rate: u32,
        now: Instant,
    ) -> usize {
        (0..1_000).filter(|_| !limit.exceeds(terminal, urgency, rate, now)).count()
    }

    #[test]
    fn each_terminal_has_its_share_and_gets_it_again() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        let [one, other] = ["t-1", "t-2"].map(terminal);
        let ordinary = Urgency::Ordinary;
        assert_eq!(through(&mut limit, &one, ordinary, 10, start), 20);
        assert_eq!(through(&mut limit, &other, ordinary, 10, start), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!(through(&mut limit, &one, ordinary, 10, later), 5);
        let much_later = start + Duration::from_secs(60);
        assert_eq!(through(&mut limit, &one, ordinary, 10, much_later), 20);
    }

    #[test]
    fn what_has_a_deadline_is_counted_apart() {
        let (mut limit, now, one) = (RateLimit::default(), Instant::now(), terminal("t-1"));
        assert_eq!(through(&mut limit, &one, Urgency::Ordinary, 1, now), 2);
        assert_eq!(through(&mut limit, &one, Urgency::Deadline, 1, now), 20);
        assert_eq!(through(&mut limit, &one, Urgency::Deadline, 1, now), 0);
    }

    #[test]
    fn who_has_been_quiet_is_forgotten() {
        let (mut limit, start) = (RateLimit::default(), Instant::now());
        for n in 0..10_000_u64 {
            let at = start + Duration::from_millis(n);
            assert!(!limit.exceeds(&terminal(&format!("t-{n}")), Urgency::Ordinary, 10, at));
            assert!(limit.buckets.len() <= REMEMBERED);
        }
    }
}
