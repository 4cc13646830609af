//! The delay ladder: pure naming and routing.
//!
//! Level `n` holds a message for `2^n` units and drops it to the next lower level. A routing key
//! spells the wanted delay in binary, highest bit first, and ends in the partition: a set bit means
//! that the level's queue holds the message, a clear one that it is passed by. A message enters at
//! its first set bit; entering at the top would cost a hop for every leading zero.

use chrono::TimeDelta;

use crate::domain::deadline::DELAY_UNIT;

/// Most levels: the longest delay is then about 19 days.
pub const LEVELS_MAX: u32 = 24;

/// Where the ladder ends.
pub const DUE_EXCHANGE: &str = "reservation.due.v1";

/// Name of a level's exchange, and of its queue.
pub fn level_name(level: u32) -> String {
    format!("reservation.delay.v1.{level:02}")
}

/// How long a level's queue holds a message, in milliseconds.
pub fn level_ttl_ms(level: u32) -> i64 {
    DELAY_UNIT.num_milliseconds() << level
}

/// The longest delay of a ladder.
pub fn longest(levels: u32) -> TimeDelta {
    DELAY_UNIT * ((1i32 << levels) - 1)
}

/// Where a message falls after a level.
pub fn below(level: u32) -> String {
    match level.checked_sub(1) {
        Some(lower) => level_name(lower),
        None => DUE_EXCHANGE.to_owned(),
    }
}

/// Binding pattern, at the exchange of `level`, of keys with that level's bit equal to `bit`.
pub fn level_pattern(levels: u32, level: u32, bit: u8) -> String {
    let skipped = "*.".repeat((levels - 1 - level) as usize);
    format!("{skipped}{bit}.#")
}

/// The key's last word, which names the partition.
pub fn partition_word(partition: i32) -> String {
    format!("p{partition}")
}

/// Binding pattern, at the ladder's end, of keys for a partition.
pub fn partition_pattern(partition: i32) -> String {
    format!("#.{}", partition_word(partition))
}

/// Exchange and routing key for a delay of `units`. Zero goes straight to the partition.
pub fn route(levels: u32, units: u32, partition: i32) -> (String, String) {
    route_to(levels, units, &partition_word(partition))
}

/// Exchange and routing key for a delay of `units` before whatever is bound to `#.<word>` at the
/// ladder's end.
pub fn route_to(levels: u32, units: u32, word: &str) -> (String, String) {
    if units == 0 {
        return (DUE_EXCHANGE.to_owned(), word.to_owned());
    }
    let highest = u32::BITS - 1 - units.leading_zeros();
    debug_assert!(highest < levels, "the caller keeps within the longest delay");
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

    /// Walks a key down the ladder as the broker would.
    fn walk(levels: u32, units: u32) -> i64 {
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
            assert_eq!(walk(10, units), i64::from(units) * 100);
        }
    }

    #[test]
    fn the_full_ladder_reaches_nineteen_days() {
        assert_eq!(longest(LEVELS_MAX).num_days(), 19);
        assert!(level_ttl_ms(LEVELS_MAX - 1) < i64::from(u32::MAX), "the broker's largest TTL");
    }
}
