//! Calendar periods of Europe/Berlin around the two changes of the clocks.
//!
//! In the product PostgreSQL computes the bounds. Here they are written out, each as the UTC hour
//! at which a local day, week (from Monday) or month begins.

use chrono::DateTime;

use super::truth::Span;

/// 25 October 2026 has 25 hours.
const DAYS_AUTUMN: &str = "
    2026-10-18T22 2026-10-19T22 2026-10-20T22 2026-10-21T22 2026-10-22T22
    2026-10-23T22 2026-10-24T22 2026-10-25T23 2026-10-26T23 2026-10-27T23
    2026-10-28T23 2026-10-29T23 2026-10-30T23 2026-10-31T23 2026-11-01T23
    2026-11-02T23 2026-11-03T23 2026-11-04T23 2026-11-05T23 2026-11-06T23";

/// 28 March 2027 has 23 hours.
const DAYS_SPRING: &str = "
    2027-03-21T23 2027-03-22T23 2027-03-23T23 2027-03-24T23 2027-03-25T23
    2027-03-26T23 2027-03-27T23 2027-03-28T22 2027-03-29T22 2027-03-30T22
    2027-03-31T22 2027-04-01T22 2027-04-02T22 2027-04-03T22 2027-04-04T22
    2027-04-05T22 2027-04-06T22 2027-04-07T22 2027-04-08T22 2027-04-09T22";

const WEEKS_AUTUMN: &str = "
    2026-10-04T22 2026-10-11T22 2026-10-18T22 2026-10-25T23 2026-11-01T23
    2026-11-08T23 2026-11-15T23 2026-11-22T23 2026-11-29T23";

const WEEKS_SPRING: &str = "
    2027-03-07T23 2027-03-14T23 2027-03-21T23 2027-03-28T22 2027-04-04T22
    2027-04-11T22 2027-04-18T22 2027-04-25T22 2027-05-02T22";

const MONTHS_AUTUMN: &str = "
    2026-08-31T22 2026-09-30T22 2026-10-31T23 2026-11-30T23 2026-12-31T23";

const MONTHS_SPRING: &str = "
    2027-01-31T23 2027-02-28T23 2027-03-31T22 2027-04-30T22 2027-05-31T22";

/// One kind of period in one season, and the instants around which a scenario may begin.
pub struct Calendar {
    /// The periods, one behind the other.
    pub periods: Vec<Span>,
    /// The change of the clocks, and some of the bounds.
    pub anchors: Vec<i64>,
}

/// Days, weeks and months, in autumn and in spring.
pub fn all() -> Vec<Calendar> {
    let autumn = instant("2026-10-25T01");
    let spring = instant("2027-03-28T01");
    vec![
        calendar(DAYS_AUTUMN, autumn, 6),
        calendar(DAYS_SPRING, spring, 6),
        calendar(WEEKS_AUTUMN, autumn, 3),
        calendar(WEEKS_SPRING, spring, 3),
        calendar(MONTHS_AUTUMN, autumn, 1),
        calendar(MONTHS_SPRING, spring, 1),
    ]
}

fn calendar(starts: &str, change: i64, first_anchor: usize) -> Calendar {
    let starts: Vec<i64> = starts.split_whitespace().map(instant).collect();
    Calendar {
        periods: starts.windows(2).map(|pair| (pair[0], pair[1])).collect(),
        anchors: vec![change, starts[first_anchor], starts[first_anchor + 1]],
    }
}

/// Microseconds since the epoch of an hour such as `2026-10-25T01`.
fn instant(hour: &str) -> i64 {
    let text = format!("{hour}:00:00Z");
    let parsed = DateTime::parse_from_rfc3339(&text).expect("a literal above");
    parsed.timestamp_micros()
}

#[test]
fn each_calendar_holds_one_period_that_the_clocks_change() {
    const HOUR: i64 = 3_600_000_000;
    for calendar in all() {
        let odd = |(start, end): &&Span| (end - start) % (24 * HOUR) != 0;
        let changed: Vec<&Span> = calendar.periods.iter().filter(odd).collect();
        assert_eq!(changed.len(), 1);
        let change = calendar.anchors[0];
        assert!(changed[0].0 < change && change < changed[0].1);
    }
}
