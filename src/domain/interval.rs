//! Half-open intervals of UTC instants.

use chrono::{DateTime, TimeDelta, Utc};

/// In UTC. PostgreSQL keeps microseconds.
pub type Timestamp = DateTime<Utc>;

/// `[start, end)`: touching intervals do not overlap (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl Interval {
    /// `None` if empty or inverted.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// Length in whole seconds.
    pub fn seconds(&self) -> i64 {
        (self.end - self.start).num_seconds()
    }

    /// Whether they share an instant.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Seconds shared with `other`.
    pub fn shared_seconds(&self, other: &Self) -> i64 {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (end - start).num_seconds().max(0)
    }

    /// With turn-around time behind it.
    pub fn with_gap(&self, gap_seconds: i64) -> Self {
        Self { start: self.start, end: self.end + TimeDelta::seconds(gap_seconds) }
    }

    /// Whether both ends lie on a grid from the Unix epoch.
    pub fn on_grid(&self, slot_seconds: i64) -> bool {
        let on =
            |t: Timestamp| t.timestamp_subsec_nanos() == 0 && t.timestamp() % slot_seconds == 0;
        on(self.start) && on(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn span(start: i64, end: i64) -> Interval {
        Interval::new(at(start), at(end)).unwrap()
    }

    #[test]
    fn touching_intervals_do_not_overlap() {
        assert!(!span(0, 10).overlaps(&span(10, 20)));
        assert!(span(0, 10).overlaps(&span(9, 20)));
        assert!(span(0, 10).with_gap(1).overlaps(&span(10, 20)));
    }

    #[test]
    fn empty_and_inverted_intervals_do_not_exist() {
        assert_eq!(Interval::new(at(5), at(5)), None);
        assert_eq!(Interval::new(at(6), at(5)), None);
    }

    #[test]
    fn shared_seconds_are_clipped() {
        assert_eq!(span(0, 10).shared_seconds(&span(4, 20)), 6);
        assert_eq!(span(0, 10).shared_seconds(&span(10, 20)), 0);
        assert_eq!(span(0, 10).shared_seconds(&span(30, 40)), 0);
    }

    #[test]
    fn the_grid_counts_from_the_epoch() {
        assert!(span(60, 120).on_grid(60));
        assert!(!span(61, 120).on_grid(60));
        assert!(!span(60, 121).on_grid(60));
        let odd = Interval::new(at(60) + TimeDelta::milliseconds(1), at(120)).unwrap();
        assert!(!odd.on_grid(1));
    }
}
