//! How many reservations overlap (R3).

use super::interval::{Instant, Interval};

/// The largest number of `booked` intervals that overlap at one instant of `window`.
///
/// Depth changes only at starts and ends, so a sweep over those finds the peak. Counting the rows
/// that overlap the window would refuse what fits: two short reservations one after the other
/// need one place, not two.
pub fn peak_depth(window: &Interval, booked: impl Iterator<Item = Interval>) -> usize {
    // At one instant ends (-1) sort before starts (+1): intervals are half-open.
    let mut steps: Vec<(Instant, i32)> = Vec::new();
    for interval in booked.filter(|b| b.overlaps(window)) {
        steps.push((interval.start.max(window.start), 1));
        steps.push((interval.end, -1));
    }
    steps.sort_unstable();
    let mut depth = 0i32;
    let mut peak = 0i32;
    for (_, step) in steps {
        depth += step;
        peak = peak.max(depth);
    }
    usize::try_from(peak).expect("a peak is never below zero")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn span(start: i64, end: i64) -> Interval {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        Interval::new(at(start), at(end)).unwrap()
    }

    #[test]
    fn depth_is_judged_at_each_instant() {
        let one_after_the_other = [span(0, 10), span(10, 20), span(20, 30)];
        assert_eq!(peak_depth(&span(0, 30), one_after_the_other.into_iter()), 1);
        let stacked = [span(0, 20), span(10, 30), span(15, 16)];
        assert_eq!(peak_depth(&span(0, 30), stacked.into_iter()), 3);
        assert_eq!(peak_depth(&span(16, 30), stacked.into_iter()), 2);
        assert_eq!(peak_depth(&span(30, 40), stacked.into_iter()), 0);
    }
}
