//! Legs of a wake-up's way to its instant.
//!
//! A wake-up names one instant, `due_at`. Long delays go in legs, each computed anew from the
//! absolute instant, so that drift between the broker's clock and the database's does not add up.

use super::interval::Instant;
use chrono::TimeDelta;

/// The delay ladder's unit.
pub const DELAY_UNIT: TimeDelta = TimeDelta::milliseconds(100);

/// The last leg is at most this long: over one hour, 250 ms absorb a drift of 70 parts per million.
pub const LAST_LEG_MAX: TimeDelta = TimeDelta::hours(1);

/// The last leg aims this far past the instant, so that clock drift cannot make it early.
pub const LAST_LEG_MARGIN: TimeDelta = TimeDelta::milliseconds(250);

/// An intermediate leg stops this far before the instant, to leave the rest to a short last leg.
const APPROACH: TimeDelta = TimeDelta::minutes(30);

/// One leg through the delay ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// How long to wait, in [`DELAY_UNIT`]s. Zero goes straight to the partition.
    pub units: u32,
    /// When the leg ends. Before the instant: an intermediate leg, which never settles anything.
    pub armed_until: Instant,
}

/// The next leg from `now` (the database's clock) towards `due_at`, on a ladder whose longest
/// delay is `longest`.
pub fn next_leg(now: Instant, due_at: Instant, longest: TimeDelta) -> Leg {
    let remaining = (due_at - now).max(TimeDelta::zero());
    let last = remaining + LAST_LEG_MARGIN;
    if remaining <= LAST_LEG_MAX && last <= longest {
        let units = ceil_units(last);
        return Leg { units, armed_until: due_at + LAST_LEG_MARGIN };
    }
    let approach = APPROACH.min(longest / 2);
    let units = floor_units((remaining - approach).min(longest)).max(1);
    let armed_until = now + DELAY_UNIT * i32::try_from(units).unwrap_or(i32::MAX);
    Leg { units, armed_until: armed_until.min(due_at - TimeDelta::milliseconds(1)) }
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

    fn at(ms: i64) -> Instant {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    #[test]
    fn a_near_instant_is_one_leg_that_ends_past_it() {
        let leg = next_leg(at(0), at(10_000), TimeDelta::days(19));
        assert_eq!(leg.units, 103); // 10.25 s, rounded up
        assert_eq!(leg.armed_until, at(10_250));
    }

    #[test]
    fn a_far_instant_is_approached_and_the_last_leg_is_short() {
        let longest = TimeDelta::days(19);
        let due = at(0) + TimeDelta::days(60);
        let mut now = at(0);
        let mut legs = 0;
        loop {
            let leg = next_leg(now, due, longest);
            legs += 1;
            assert!(legs < 10, "it must arrive");
            if leg.armed_until >= due {
                assert!(due - now <= LAST_LEG_MAX);
                break;
            }
            assert!(leg.armed_until > now);
            now = leg.armed_until;
        }
        assert_eq!(legs, 5); // three longest rungs, the approach, the last leg
    }

    #[test]
    fn a_small_ladder_arrives_in_many_legs() {
        let longest = TimeDelta::milliseconds(3_100);
        let due = at(20_000);
        let mut now = at(0);
        let mut ends = Vec::new();
        while ends.last().is_none_or(|end| *end < due) {
            let leg = next_leg(now, due, longest);
            assert!(DELAY_UNIT * i32::try_from(leg.units).unwrap() <= longest);
            now = leg.armed_until;
            ends.push(now);
            assert!(ends.len() < 30, "it must arrive");
        }
        assert_eq!(ends.last(), Some(&(due + LAST_LEG_MARGIN)));
    }

    #[test]
    fn a_passed_instant_is_due_at_once() {
        let leg = next_leg(at(50_000), at(10_000), TimeDelta::days(19));
        assert!(leg.units <= 3);
        assert_eq!(leg.armed_until, at(10_250));
    }
}
