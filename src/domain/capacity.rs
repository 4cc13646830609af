//! Overlapping reservations (R3): `docs/decisions/0009-depth-at-start-points.md`.

use super::interval::{Interval, Timestamp};

/// The largest number of `booked` intervals that overlap at one instant of `window`.
///
/// Counting overlapping rows would refuse what fits: two reservations in sequence need one place.
pub fn peak_depth(window: &Interval, booked: impl Iterator<Item = Interval>) -> usize {
    // Ends (-1) sort before starts (+1): intervals are half-open.
    let mut steps: Vec<(Timestamp, i32)> = Vec::new();
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

/// How many of `booked` overlap, from when until when. In order of time, without the times at which there
/// are none.
pub(super) fn depths(booked: &[Interval]) -> Vec<(Interval, usize)> {
    let mut steps: Vec<(Timestamp, i32)> = Vec::new();
    for interval in booked {
        steps.push((interval.start, 1));
        steps.push((interval.end, -1));
    }
    steps.sort_unstable();
    let mut depth = 0;
    let mut depths = Vec::new();
    for pair in steps.windows(2) {
        depth += pair[0].1;
        let during = Interval::new(pair[0].0, pair[1].0);
        if let (Some(during), Ok(depth @ 1..)) = (during, usize::try_from(depth)) {
            depths.push((during, depth));
        }
    }
    depths
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

    #[test]
    fn depths_are_told_over_time() {
        let booked = [span(0, 20), span(10, 30), span(20, 40), span(90, 120)];
        let expected = [
            (span(0, 10), 1),
            (span(10, 20), 2),
            (span(20, 30), 2),
            (span(30, 40), 1),
            (span(90, 120), 1),
        ];
        assert_eq!(depths(&booked), expected);
    }
}
