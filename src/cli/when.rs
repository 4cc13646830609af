//! Instants on the command line.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::interval::Timestamp;

const MINUTE_SECONDS: i64 = 60;

/// An instant as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// RFC 3339.
    At(Timestamp),
    /// From now; negative: before now.
    FromNow(TimeDelta),
}

impl When {
    /// The base of relative times.
    #[expect(clippy::disallowed_methods, reason = "people mean the clock they look at")]
    pub fn now() -> Timestamp {
        Utc::now()
    }

    /// The instant, to the second and below. `None` beyond the calendar.
    pub(super) fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            When::At(instant) => Some(instant),
            When::FromNow(distance) => now.checked_add_signed(distance),
        }
    }

    /// For a request: a relative time is rounded up to a full minute, since most servers have such a
    /// grid. `None` beyond the calendar.
    pub(super) fn resolve_to_minute(self, now: Timestamp) -> Option<Timestamp> {
        let exact = self.resolve(now)?;
        if matches!(self, When::At(_)) {
            return Some(exact);
        }
        let partial = exact.timestamp_subsec_nanos() > 0;
        let second = exact.timestamp() + i64::from(partial);
        let minutes =
            second.div_euclid(MINUTE_SECONDS) + i64::from(second.rem_euclid(MINUTE_SECONDS) > 0);
        DateTime::from_timestamp(minutes * MINUTE_SECONDS, 0)
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(When::FromNow(TimeDelta::zero()));
        }
        if let Some(sign @ ('+' | '-')) = text.chars().next() {
            let distance = parse_distance(&text[1..]).ok_or_else(|| {
                "a relative time is `+` or `-`, a whole number and s, m, h or d, such as +90s or \
                 -1d"
                .to_owned()
            })?;
            return Ok(When::FromNow(if sign == '-' { -distance } else { distance }));
        }
        DateTime::parse_from_rfc3339(text)
            .map(|instant| When::At(instant.with_timezone(&Utc)))
            .map_err(|_| {
                "neither RFC 3339 with an offset, such as 2031-05-01T18:00:00Z, nor relative, \
                 such as +2h, -1d or now"
                    .to_owned()
            })
    }
}

fn parse_distance(text: &str) -> Option<TimeDelta> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: i64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    match &text[digits.len()..] {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn relative_times_are_rounded_up_to_a_full_minute() {
        for (now, text, expected) in [
            ("2031-05-01T12:00:00Z", "+0s", "2031-05-01T12:00:00Z"),
            ("2031-05-01T12:00:00Z", "+90s", "2031-05-01T12:02:00Z"),
            ("2031-05-01T12:00:00.5Z", "+60s", "2031-05-01T12:02:00Z"),
            ("2031-05-01T12:00:01Z", "+2h", "2031-05-01T14:01:00Z"),
            ("2031-05-01T12:00:00Z", "+3d", "2031-05-04T12:00:00Z"),
            ("2031-05-01T12:00:00Z", "+5m", "2031-05-01T12:05:00Z"),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.resolve_to_minute(at(now)), Some(at(expected)), "{now} {text}");
        }
    }

    #[test]
    fn a_range_keeps_its_seconds_and_may_lie_in_the_past() {
        for (now, text, expected) in [
            ("2031-05-01T12:00:00.25Z", "-90s", "2031-05-01T11:58:30.25Z"),
            ("2031-05-01T12:00:07Z", "-1d", "2031-04-30T12:00:07Z"),
            ("2031-05-01T12:00:07Z", "+2h", "2031-05-01T14:00:07Z"),
            ("2031-05-01T12:00:07.5Z", "now", "2031-05-01T12:00:07.5Z"),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(when.resolve(at(now)), Some(at(expected)), "{now} {text}");
        }
    }

    #[test]
    fn absolute_times_are_taken_as_they_are() {
        let when: When = "2031-05-01T18:00:01+02:00".parse().unwrap();
        let expected = Some(at("2031-05-01T16:00:01Z"));
        assert_eq!(when.resolve(at("2031-01-01T00:00:00Z")), expected);
        assert_eq!(when.resolve_to_minute(at("2031-01-01T00:00:00Z")), expected);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "+",
            "+s",
            "+1",
            "+1w",
            "+-1s",
            "++1s",
            "+1.5h",
            "-",
            "--1s",
            "-1w",
            "Now",
            "2031-05-01",
            "2031-05-01T18:00:00",
            "+99999999999999999999s",
            "+9223372036854775807d",
            "+1ä",
        ] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
        let far: When = "+99999999d".parse().unwrap();
        assert_eq!(far.resolve(at("2031-01-01T00:00:00Z")), None);
        assert_eq!(far.resolve_to_minute(at("2031-01-01T00:00:00Z")), None);
    }
}
