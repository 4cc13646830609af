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

/// A part of a window with a constant number of free places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpan {
    /// Its bounds.
    pub interval: Interval,
    /// Free places throughout.
    pub places: usize,
}

/// The free places of a server over `window`: in time order, without gaps, neighbours differ.
/// Nothing is free while `closed`.
pub fn free_spans(
    window: &Interval,
    capacity: usize,
    booked: impl Iterator<Item = Interval>,
    closed: impl Iterator<Item = Interval>,
) -> Vec<FreeSpan> {
    let capacity = i64::try_from(capacity).unwrap_or(i64::MAX);
    let taken = booked.map(|interval| (interval, 1)).chain(closed.map(|closed| (closed, capacity)));
    // The window's ends are steps of zero.
    let mut steps = vec![(window.start, 0), (window.end, 0)];
    for (interval, places) in taken.filter(|(interval, _)| interval.overlaps(window)) {
        steps.push((interval.start.max(window.start), places));
        steps.push((interval.end.min(window.end), -places));
    }
    steps.sort_unstable();
    let mut spans: Vec<FreeSpan> = Vec::new();
    let mut taken = 0;
    for pair in steps.windows(2) {
        let ((start, step), (end, _)) = (pair[0], pair[1]);
        taken += step;
        let Some(interval) = Interval::new(start, end) else { continue };
        let places = usize::try_from(capacity - taken).unwrap_or(0);
        match spans.last_mut() {
            Some(last) if last.places == places => last.interval.end = end,
            _ => spans.push(FreeSpan { interval, places }),
        }
    }
    spans
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
    fn free_places_are_told_over_time() {
        let booked = [span(0, 20), span(10, 30), span(20, 40), span(90, 120)];
        let closed = [span(60, 70)];
        let free = |window: Interval| -> Vec<(i64, i64, usize)> {
            free_spans(&window, 2, booked.into_iter(), closed.into_iter())
                .iter()
                .map(|s| (s.interval.start.timestamp(), s.interval.end.timestamp(), s.places))
                .collect()
        };
        // At 20 one ends and another begins.
        assert_eq!(
            free(span(5, 100)),
            [
                (5, 10, 1),
                (10, 30, 0),
                (30, 40, 1),
                (40, 60, 2),
                (60, 70, 0),
                (70, 90, 2),
                (90, 100, 1)
            ]
        );
        assert_eq!(free(span(41, 50)), [(41, 50, 2)]);
    }
}
