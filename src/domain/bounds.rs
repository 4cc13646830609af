//! The bound of every stored number: each quantity has one, here.
//!
//! The command line takes these ranges, and a CHECK in the database repeats each
//! (`tests/suite/bounds.rs` compares them). Within them no sum, product or instant overflows, in Rust
//! or in SQL: `docs/decisions/0028-one-bound-per-quantity.md` has the arithmetic.

use std::ops::RangeInclusive;

/// Both ends belong to it.
pub type Bounds = RangeInclusive<i64>;

/// A day in seconds.
pub const DAY_SECONDS: i64 = 86_400;

/// Simultaneous reservations of a server. A decision reads up to that many.
pub const CAPACITY: Bounds = 1..=10_000;

/// Price of an hour in minor units. An hour for a thousand million euros is a mistake.
pub const RATE_MINOR: Bounds = 0..=100_000_000_000;

/// Grid of starts and ends: up to a day, so that a day always has a start.
pub const SLOT_SECONDS: Bounds = 1..=DAY_SECONDS;

/// Length of a reservation: up to 31 days, a calendar month.
pub const LENGTH_SECONDS: Bounds = 1..=31 * DAY_SECONDS;

/// Turn-around time behind a reservation.
pub const GAP_SECONDS: Bounds = 0..=DAY_SECONDS;

/// How long a reservation can keep its server busy: its length and its gap.
pub const BUSY_SECONDS: Bounds = 0..=*LENGTH_SECONDS.end() + *GAP_SECONDS.end();

/// From the deadline to the start: up to a year.
pub const LEAD_SECONDS: Bounds = 0..=365 * DAY_SECONDS;

/// From the reminder to the deadline: up to a year; 0: never.
pub const REMINDER_SECONDS: Bounds = 0..=365 * DAY_SECONDS;

/// From now to the latest start: up to two years.
pub const HORIZON_SECONDS: Bounds = 1..=730 * DAY_SECONDS;

/// Viewers of one reservation at a time. More than any one streaming server serves is no limit.
pub const VIEWERS: Bounds = 1..=1_000_000;

/// How long before its start a reservation is admitted: up to the longest gap, which keeps the time free.
pub const EARLY_SECONDS: Bounds = 0..=*GAP_SECONDS.end();

/// Time of a reservation in which it was used.
pub const USED_SECONDS: Bounds = 0..=*LENGTH_SECONDS.end();

/// Access keys that one reservation had, one after the other.
pub const ACCESS_EPOCH: Bounds = 1..=1_000_000;

/// Longest URL of a server, in bytes: what browsers and encoders take.
pub const URL_LEN_MAX: usize = 2_048;

/// Longest name of a gate, in bytes: that of a host.
pub const GATE_LEN_MAX: usize = 64;

/// Longest name of a session, in bytes: streaming servers number them or give them a UUID.
pub const SESSION_LEN_MAX: usize = 128;

/// Longest word for how a session ended, in bytes.
pub const ENDED_LEN_MAX: usize = 64;

/// Partitions of an installation.
pub const PARTITIONS: Bounds = 1..=256;

/// The number of a partition.
pub const PARTITION: Bounds = 0..=*PARTITIONS.end() - 1;

/// Levels of the delay ladder. The number of units of a delay has that many binary digits.
pub const DELAY_LEVELS: Bounds = 1..=24;

/// Reserved time of a user per period, in seconds. As microseconds, which the guard counts, it leaves
/// most of a bigint free. It is no limit: 370 000 reservations at a time, for a month.
pub const QUOTA_SECONDS: Bounds = 0..=1_000_000_000_000;

/// Unreconfirmed reservations of a user at a time.
pub const HOLDS: Bounds = 1..=1_000_000;

/// How long answers are kept, in seconds: a day to a hundred years.
pub const ANSWERS_KEPT_SECONDS: Bounds = DAY_SECONDS..=36_500 * DAY_SECONDS;

/// How long reservations are kept after their end, in seconds: more than the longest quota period that
/// they count in, and up to a hundred years.
pub const RESERVATIONS_KEPT_SECONDS: Bounds = 40 * DAY_SECONDS..=36_500 * DAY_SECONDS;

/// Messages per second of a terminal. More than any broker delivers is no limit.
pub const MESSAGE_RATE: Bounds = 1..=1_000_000;

/// Price of a reservation: the highest rate, for the longest time.
pub const PRICE_MINOR: Bounds = 0..=*RATE_MINOR.end() * *LENGTH_SECONDS.end() / 3_600;

/// Years of instants in messages: those that RFC 3339 can express.
pub const MESSAGE_YEARS: RangeInclusive<i32> = 0..=9_999;

/// Years of stored instants: nothing is reserved before Unix time, nor after what RFC 3339 can express.
pub const STORED_YEARS: RangeInclusive<i32> = 1_970..=9_999;

/// A limit of 0 stands for none.
pub const fn or_zero(bounds: &Bounds) -> Bounds {
    0..=*bounds.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tariff::Tariff;

    #[test]
    fn the_dearest_reservation_has_a_price() {
        let tariff =
            Tariff { rate_minor: *RATE_MINOR.end(), currency: "EUR".to_owned(), version: 1 };
        assert_eq!(tariff.price_minor(*LENGTH_SECONDS.end()), *PRICE_MINOR.end());
    }

    /// The guard counts microseconds in a bigint. A statement adds the longest reservations of a whole
    /// batch before it compares with the limit.
    #[test]
    fn a_used_up_quota_and_a_batch_fit_a_bigint() {
        const BATCH: i64 = 100_000;
        let batch = LENGTH_SECONDS.end().checked_mul(BATCH).unwrap();
        let seconds = QUOTA_SECONDS.end().checked_add(batch).unwrap();
        assert!(seconds.checked_mul(1_000_000).is_some());
    }

    /// Programs in JavaScript read integers exactly up to 2^53.
    #[test]
    fn every_number_in_a_message_is_exact_in_json() {
        const EXACT_MAX: i64 = 1 << 53;
        for bounds in [PRICE_MINOR, RATE_MINOR, QUOTA_SECONDS, LENGTH_SECONDS] {
            assert!(*bounds.end() <= EXACT_MAX, "{bounds:?}");
        }
    }
}
