//! The delay ladder: names and routing.
//!
//! Level `n` holds a message for `2^n` units, then dead-letters it to the next lower level. A
//! routing key spells the delay in binary, highest bit first, then the partition. At each level a
//! set bit routes the message into the queue, a clear bit past it. A message enters at its highest
//! set bit, which saves hops.
//!
//! See `docs/decisions/0003-delay-ladder.md`.

use chrono::TimeDelta;

use crate::domain::deadline::DELAY_UNIT;

/// Most levels of a ladder: about 19 days.
#[cfg(test)]
const LEVELS_MAX: u32 = 24;

/// The ladder's end; delivers wake-ups to the partitions.
pub const DUE_EXCHANGE: &str = "reservation.due.v1";

/// Name of a level's exchange and queue.
pub fn level_name(level: u32) -> String {
    format!("reservation.delay.v1.{level:02}")
}

/// A level's delay, in milliseconds.
pub(super) fn level_ttl_ms(level: u32) -> i64 {
    DELAY_UNIT.num_milliseconds() << level
}

pub(crate) fn longest(levels: u32) -> TimeDelta {
    DELAY_UNIT * ((1i32 << levels) - 1)
}

pub(super) fn below(level: u32) -> String {
    match level.checked_sub(1) {
        Some(lower) => level_name(lower),
        None => DUE_EXCHANGE.to_owned(),
    }
}

/// Binding pattern, at the exchange of `level`, for keys with this `bit` there.
pub(super) fn level_pattern(levels: u32, level: u32, bit: u8) -> String {
    let skipped = "*.".repeat((levels - 1 - level) as usize);
    format!("{skipped}{bit}.#")
}

/// A routing key's last word: the partition.
pub fn partition_word(partition: i32) -> String {
    format!("p{partition}")
}

/// Binding pattern of a partition at the ladder's end.
pub fn partition_pattern(partition: i32) -> String {
    format!("#.{}", partition_word(partition))
}

/// Exchange and routing key for a delay of `units`; zero skips the ladder.
pub(crate) fn route(levels: u32, units: u32, partition: i32) -> (String, String) {
    route_to(levels, units, &partition_word(partition))
}

/// The same for the queue bound with `#.<word>` at the ladder's end.
pub(super) fn route_to(levels: u32, units: u32, word: &str) -> (String, String) {
    if units == 0 {
        return (DUE_EXCHANGE.to_owned(), word.to_owned());
    }
    let highest = u32::BITS - 1 - units.leading_zeros();
    debug_assert!(highest < levels, "longer than the longest delay");
    let mut key = String::with_capacity(levels as usize * 2 + word.len());
    for level in (0..levels).rev() {
        key.push(if units >> level & 1 == 1 { '1' } else { '0' });
        key.push('.');
    }
    key.push_str(word);
    (level_name(highest), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spell_the_delay_and_enter_at_the_first_set_bit() {
        for (units, exchange, key) in [
            (0, "reservation.due.v1", "p3"),
            (1, "reservation.delay.v1.00", "0.0.0.0.1.p3"),
            (2, "reservation.delay.v1.01", "0.0.0.1.0.p3"),
            (5, "reservation.delay.v1.02", "0.0.1.0.1.p3"),
            (31, "reservation.delay.v1.04", "1.1.1.1.1.p3"),
        ] {
            assert_eq!(route(5, units, 3), (exchange.to_owned(), key.to_owned()), "{units}");
        }
    }

    /// The total delay, in milliseconds.
    fn delay_ms(levels: u32, units: u32) -> i64 {
        let (mut exchange, key) = route(levels, units, 0);
        let words: Vec<&str> = key.split('.').collect();
        let mut waited = 0;
        for level in (0..levels).rev() {
            if exchange != level_name(level) {
                continue;
            }
            let position = (levels - 1 - level) as usize;
            let held = level_pattern(levels, level, 1);
            assert_eq!(held.split('.').position(|word| word == "1"), Some(position));
            if words[position] == "1" {
                waited += level_ttl_ms(level);
            }
            exchange = below(level);
        }
        assert_eq!(exchange, DUE_EXCHANGE);
        waited
    }

    #[test]
    fn every_delay_adds_up() {
        for units in 1..1 << 10 {
            assert_eq!(delay_ms(10, units), i64::from(units) * 100);
        }
    }

    #[test]
    fn the_longest_ladder_reaches_nineteen_days() {
        assert_eq!(longest(LEVELS_MAX).num_days(), 19);
        assert!(level_ttl_ms(LEVELS_MAX - 1) < i64::from(u32::MAX), "the broker's largest TTL");
    }
}
