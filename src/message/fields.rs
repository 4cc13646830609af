//! Strictly reads a command's JSON body.

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use uuid::Uuid;

use super::envelope::printable;
use crate::domain::bounds::MESSAGE_YEARS;
use crate::domain::interval::{Interval, Timestamp};
use crate::domain::limit::{Limit, Relation, Unit};
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;

/// Nanoseconds: chrono silently drops further digits.
const FRACTION_DIGITS_MAX: usize = 9;

/// 2^53: above it neighbouring integers share a float.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The unread fields of a JSON object.
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Refuses anything but one JSON object without duplicate names.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::plain(Code::InvalidEncoding))?;
        if text.starts_with('\u{feff}') {
            return Err(Refusal::plain(Code::InvalidEncoding));
        }
        let Object(fields) =
            serde_json::from_str(text).map_err(|_| Refusal::plain(Code::InvalidJson))?;
        for (index, (name, _)) in fields.iter().enumerate() {
            if fields[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Refusal::of_field(Code::DuplicateField, printable(name)));
            }
        }
        Ok(Self(fields))
    }

    /// Refuses unread fields.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.0.first() {
            Some((name, _)) => Err(Refusal::of_field(Code::UnknownField, printable(name))),
            None => Ok(()),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// Reads an optional integer within `bounds`, which count `unit`. As in JSON Schema, `20.0` and `2e1`
    /// are integers.
    pub fn integer(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<i64>,
        unit: Unit,
    ) -> Result<Option<i64>, Refusal> {
        let Some(index) = self.0.iter().position(|(field, _)| field == name) else {
            return Ok(None);
        };
        let Value::Number(number) = self.0.swap_remove(index).1 else {
            return Err(Refusal::of_field(Code::InvalidType, name));
        };
        if number.is_f64() && number.as_f64().is_some_and(|number| number.fract() != 0.0) {
            return Err(Refusal::of_field(Code::InvalidType, name));
        }
        let given = number.as_i64().or_else(|| number.as_f64().and_then(exact));
        if given.is_some_and(|given| bounds.contains(&given)) {
            return Ok(given);
        }
        let below = number.as_f64().is_some_and(|number| number < *bounds.start() as f64);
        let (relation, value) = match below {
            true => (Relation::AtLeast, *bounds.start()),
            false => (Relation::AtMost, *bounds.end()),
        };
        let limit = Limit { name, relation, value, unit, given };
        Err(Refusal { field: Some(name.to_owned()), ..Refusal::beyond(Code::OutOfRange, limit) })
    }

    /// Reads a required string.
    pub fn text(&mut self, name: &str) -> Result<String, Refusal> {
        let index = self
            .0
            .iter()
            .position(|(field, _)| field == name)
            .ok_or_else(|| Refusal::of_field(Code::MissingField, name))?;
        match self.0.swap_remove(index).1 {
            Value::String(text) => Ok(text),
            _ => Err(Refusal::of_field(Code::InvalidType, name)),
        }
    }

    /// Reads a required, hyphenated UUID.
    pub fn uuid(&mut self, name: &str) -> Result<Uuid, Refusal> {
        let text = self.text(name)?;
        let hyphenated = text.len() == 36;
        Uuid::try_parse(&text)
            .ok()
            .filter(|_| hyphenated)
            .ok_or_else(|| Refusal::of_field(Code::InvalidText, name))
    }

    /// Reads a timestamp in the profile of RFC 3339 that [`super::pattern::TIMESTAMP`] states. PostgreSQL is laxer: it accepts `infinity` and
    /// `epoch`, rolls over `:60`, and silently maps local times that daylight saving skips or
    /// repeats.
    pub fn timestamp(&mut self, name: &str) -> Result<Timestamp, Refusal> {
        let text = self.text(name)?;
        let wrong = || Refusal::of_field(Code::InvalidTimestamp, name);
        let parsed = DateTime::parse_from_rfc3339(&text).map_err(|_| wrong())?;
        let leap_second = parsed.nanosecond() >= 1_000_000_000;
        // chrono also accepts U+2212 as minus, and any number of digits.
        let digits = text.bytes().skip(20).take_while(u8::is_ascii_digit).count();
        let plain = text.is_ascii() && digits <= FRACTION_DIGITS_MAX;
        // RFC 3339 leaves lower case and a space to its users.
        let upper_case = text.as_bytes().get(10) == Some(&b'T') && !text.ends_with('z');
        if leap_second || !plain || !upper_case {
            return Err(wrong());
        }
        // The offset can move the year out of range.
        let timestamp = parsed.with_timezone(&Utc);
        if MESSAGE_YEARS.contains(&timestamp.year()) { Ok(timestamp) } else { Err(wrong()) }
    }

    /// Reads `start_at` and `end_at`; refuses an empty interval.
    pub fn interval(&mut self) -> Result<Interval, Refusal> {
        let start = self.timestamp("start_at")?;
        let end = self.timestamp("end_at")?;
        Interval::new(start, end).ok_or_else(|| Refusal::of_field(Code::InvalidInterval, "end_at"))
    }
}

/// The integer that a whole float is, if every integer of its size has a float of its own.
fn exact(number: f64) -> Option<i64> {
    (number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// Keeps order and duplicates.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    fields.push(entry);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(text: &str) -> Result<Timestamp, Refusal> {
        Fields::parse(format!(r#"{{"at":"{text}"}}"#).as_bytes()).unwrap().timestamp("at")
    }

    #[test]
    fn an_offset_must_not_move_a_timestamp_out_of_the_expressible_years() {
        for good in [
            "0000-01-01T00:00:00Z",
            "0000-01-01T23:59:59+23:59",
            "9999-12-31T23:59:59.999999999Z",
            "9999-12-31T00:00:00-23:59",
        ] {
            let read = timestamp(good).unwrap();
            assert_eq!(timestamp(&read.to_rfc3339()), Ok(read), "{good}");
        }
        for bad in [
            "0000-01-01T00:00:00+00:01",
            "0000-01-01T23:58:59+23:59",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:59-23:59",
        ] {
            assert_eq!(timestamp(bad).unwrap_err().code, Code::InvalidTimestamp, "{bad}");
        }
    }
}
