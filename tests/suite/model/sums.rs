//! Sums done the slow way: by looking at every tick.
//!
//! All accepted times, gaps, leads, closures and period bounds are whole ticks, so nothing can
//! change between two ticks and looking at each is exact.

use holdfast::domain::id::{ServerId, UserId};

use super::truth::{Row, Span};

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

/// Every tick of `[start, end)`.
pub fn ticks((start, end): Span, tick: i64) -> impl Iterator<Item = i64> {
    (0..).map(move |n| start + n * tick).take_while(move |at| *at < end)
}

/// Live reservations that keep `server` busy at one instant.
pub fn depth(rows: &[Row], server: &ServerId, at: i64) -> usize {
    rows.iter()
        .filter(|row| row.server == *server && row.live())
        .filter(|row| row.start <= at && at < row.busy_until)
        .count()
}

/// The most live reservations that keep `server` busy at one tick of `span`.
pub fn deepest(rows: &[Row], server: &ServerId, span: Span, tick: i64) -> usize {
    let there: Vec<Row> =
        rows.iter().filter(|row| row.server == *server && row.live()).cloned().collect();
    ticks(span, tick).map(|at| depth(&there, server, at)).max().unwrap_or(0)
}

/// Seconds of `span` that fall into `period`.
pub fn seconds_inside(span: Span, period: Span, tick: i64) -> i64 {
    let mut inside = 0;
    for at in ticks(span, tick) {
        if period.0 <= at && at < period.1 {
            inside += tick / SECOND;
        }
    }
    inside
}

/// Seconds of `period` that the user's live reservations take.
pub fn used(rows: &[Row], user: &UserId, period: Span, tick: i64) -> i64 {
    rows.iter()
        .filter(|row| row.user == *user && row.live())
        .map(|row| seconds_inside((row.start, row.end), period, tick))
        .sum()
}

/// The price in minor units, as one would write it down on paper.
pub fn price(rate_per_hour: i64, seconds: i64) -> i64 {
    let whole_hours = rate_per_hour * (seconds / 3_600);
    let parts_of_3600 = rate_per_hour * (seconds % 3_600);
    let mut minor = whole_hours + parts_of_3600 / 3_600;
    if parts_of_3600 % 3_600 >= 1_800 {
        minor += 1;
    }
    minor
}
