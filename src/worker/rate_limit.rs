//! Limits each terminal to N commands per second per partition, and to N queries per second per
//! worker, with bursts of 2N. Excess is refused without the database, so that others are served
//! meanwhile. A refusal says when the terminal has room again.
//!
//! Each worker counts by its own monotonic clock. Refusals are not stored, and the message id stays
//! free. A takeover resets the count, in the terminal's favour.

use std::collections::HashMap;
use std::time::{Duration, Instant};

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

/// Longest wait that a refusal tells. Room that lies farther ahead is promised to several messages: a
/// terminal that far beyond its rate will be refused again.
const WAIT_MAX_SECONDS: f64 = 60.0;

/// Messages of one urgency that still count against the rate.
#[derive(Default)]
struct Level {
    /// Taken.
    taken: f64,
    /// Refused, each with a wait of its own. Told the same wait, all would come back at once, and all but
    /// one would be refused again.
    promised: f64,
}

impl Level {
    fn drain(&mut self, messages: f64) {
        self.taken = (self.taken - messages).max(0.0);
        self.promised = (self.promised - messages).max(0.0);
    }

    /// Takes a message, or returns how long to wait for room.
    fn take(&mut self, rate: f64) -> Result<(), Duration> {
        let beyond = self.taken + 1.0 - rate * BURST_SECONDS;
        if beyond <= 0.0 {
            self.taken += 1.0;
            return Ok(());
        }
        let seconds = ((beyond + self.promised) / rate).min(WAIT_MAX_SECONDS);
        self.promised = (self.promised + 1.0).min(rate * WAIT_MAX_SECONDS);
        Err(Duration::from_secs_f64(seconds))
    }
}

/// Messages of one terminal.
struct Bucket {
    ordinary: Level,
    urgent: Level,
    at: Instant,
    limited: bool,
}

impl Bucket {
    fn drain(&mut self, rate: f64, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.ordinary.drain(seconds * rate);
        self.urgent.drain(seconds * rate * URGENT_FACTOR);
        self.at = now;
    }

    fn is_empty(&self) -> bool {
        self.ordinary.taken == 0.0 && self.urgent.taken == 0.0
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
    /// Counts a message, or says how long to wait, if it exceeds `rate` per second.
    pub fn take(
        &mut self,
        terminal: &TerminalId,
        urgency: Urgency,
        rate: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        let rate = f64::from(rate);
        if self.buckets.len() >= self.look_again_at.max(REMEMBERED) {
            self.forget(rate, now);
        }
        let bucket = self.buckets.entry(terminal.clone()).or_insert(Bucket {
            ordinary: Level::default(),
            urgent: Level::default(),
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
        let taken = level.take(rate * factor);
        if taken.is_err() && !bucket.limited {
            bucket.limited = true;
            warn!(terminal = terminal.as_str(), "rate limit exceeded; some messages are refused");
        }
        taken
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
        (0..1_000).filter(|_| limit.take(terminal, urgency, rate, now).is_ok()).count()
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
    fn who_waits_as_told_is_taken() {
        for (urgency, per_second) in [(Urgency::Ordinary, 4_u32), (Urgency::Deadline, 40)] {
            let (mut limit, start, one) = (RateLimit::default(), Instant::now(), terminal("t-1"));
            let mut send = |at| limit.take(&one, urgency, 4, at);
            let waits: Vec<Duration> = (0..100).filter_map(|_| send(start).err()).collect();
            assert_eq!(waits.len(), 100 - 2 * per_second as usize);
            assert_eq!(waits[0], Duration::from_secs(1) / per_second);
            assert!(waits.is_sorted_by(|a, b| a < b), "each has room of its own: {waits:?}");
            // Rounding must not make it early.
            let early = Duration::from_micros(1);
            assert!(send(start + waits[0] - 2 * early).is_err(), "not before");
            for wait in &waits {
                assert_eq!(send(start + *wait + early), Ok(()), "{wait:?}");
            }
        }
    }

    #[test]
    fn a_wait_is_bounded() {
        let (mut limit, now, one) = (RateLimit::default(), Instant::now(), terminal("t-1"));
        let longest = (0..10_000).filter_map(|_| limit.take(&one, Urgency::Ordinary, 1, now).err());
        assert_eq!(longest.max(), Some(Duration::from_secs_f64(WAIT_MAX_SECONDS)));
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
            let taken = limit.take(&terminal(&format!("t-{n}")), Urgency::Ordinary, 10, at);
            assert_eq!(taken, Ok(()));
            assert!(limit.buckets.len() <= REMEMBERED);
        }
    }
}
