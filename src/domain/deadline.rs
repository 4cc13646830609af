//! Hops of a wake-up towards its instant, `due_at`.
//!
//! Each is computed from the absolute instant: drift between the broker's and the database's clocks
//! does not accumulate.

use super::interval::Timestamp;
use chrono::TimeDelta;

/// The delay ladder's unit.
pub const DELAY_UNIT: TimeDelta = TimeDelta::milliseconds(100);

/// Longest last hop: 250 ms absorb 70 ppm of drift over one hour
/// (`docs/decisions/0003-delay-ladder.md`).
pub const LAST_HOP_MAX: TimeDelta = TimeDelta::hours(1);

/// How far past the instant the last hop aims: clock drift cannot make it early.
pub const LAST_HOP_MARGIN: TimeDelta = TimeDelta::milliseconds(250);

/// How much time an intermediate hop leaves to a short last hop.
const APPROACH: TimeDelta = TimeDelta::minutes(30);

/// One hop through the delay ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Length in [`DELAY_UNIT`]s; zero goes straight to the partition.
    pub units: u32,
    /// Its end.
    pub scheduled_until: Timestamp,
}

/// The next hop from `now` (database clock) towards `due_at`. No hop exceeds `longest`.
pub fn next_hop(now: Timestamp, due_at: Timestamp, longest: TimeDelta) -> Hop {
    let remaining = (due_at - now).max(TimeDelta::zero());
    let last = remaining + LAST_HOP_MARGIN;
    if remaining <= LAST_HOP_MAX && last <= longest {
        let units = ceil_units(last);
        // Of a passed instant as well, the hop ends when it does: the clock may be ahead.
        return Hop { units, scheduled_until: due_at.max(now) + LAST_HOP_MARGIN };
    }
    let approach = APPROACH.min(longest / 2);
    let units = floor_units((remaining - approach).min(longest)).max(1);
    let scheduled_until = now + DELAY_UNIT * i32::try_from(units).unwrap_or(i32::MAX);
    Hop { units, scheduled_until: scheduled_until.min(due_at - TimeDelta::milliseconds(1)) }
}

fn floor_units(delay: TimeDelta) -> u32 {
    let units = delay.num_milliseconds() / DELAY_UNIT.num_milliseconds();
    u32::try_from(units.max(0)).unwrap_or(u32::MAX)
}

fn ceil_units(delay: TimeDelta) -> u32 {
    floor_units(delay + DELAY_UNIT - TimeDelta::milliseconds(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn at(ms: i64) -> Timestamp {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    #[test]
    fn a_near_instant_is_one_hop_that_ends_past_it() {
        let hop = next_hop(at(0), at(10_000), TimeDelta::days(19));
        assert_eq!(hop.units, 103); // 10.25 s, rounded up
        assert_eq!(hop.scheduled_until, at(10_250));
    }

    #[test]
    fn a_far_instant_is_approached_and_the_last_hop_is_short() {
        let longest = TimeDelta::days(19);
        let due = at(0) + TimeDelta::days(60);
        let mut now = at(0);
        let mut hops = 0;
        loop {
            let hop = next_hop(now, due, longest);
            hops += 1;
            assert!(hops < 10, "it must arrive");
            if hop.scheduled_until >= due {
                assert!(due - now <= LAST_HOP_MAX);
                break;
            }
            assert!(hop.scheduled_until > now);
            now = hop.scheduled_until;
        }
        assert_eq!(hops, 5); // three longest rungs, the approach, the last hop
    }

    #[test]
    fn a_small_ladder_arrives_in_many_hops() {
        let longest = TimeDelta::milliseconds(3_100);
        let due = at(20_000);
        let mut now = at(0);
        let mut ends = Vec::new();
        while ends.last().is_none_or(|end| *end < due) {
            let hop = next_hop(now, due, longest);
            assert!(DELAY_UNIT * i32::try_from(hop.units).unwrap() <= longest);
            now = hop.scheduled_until;
            ends.push(now);
            assert!(ends.len() < 30, "it must arrive");
        }
        assert_eq!(ends.last(), Some(&(due + LAST_HOP_MARGIN)));
    }

    #[test]
    fn a_passed_instant_is_due_at_once() {
        let hop = next_hop(at(50_000), at(10_000), TimeDelta::days(19));
        assert!(hop.units <= 3);
        assert_eq!(hop.scheduled_until, at(50_250));
    }
}
