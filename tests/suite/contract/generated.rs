//! Bodies generated from the published schemas: what the schema admits the decoder takes, and what it
//! refuses the decoder refuses, but for the rules that a schema cannot say.
//!
//! The schemas are read as most validators do, with `format` as an annotation.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use holdfast::message::command::Kind;
use holdfast::message::decode::{Decoded, decode, decode_query};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

use super::{received, schema};

/// Bodies of each kind.
const BODIES: usize = 3_000;

/// Longest repetition that is drawn where a pattern has no bound.
const REPEATS_MAX: u32 = 70;

/// Instants on both sides of the first and the last one.
const EDGES: [&str; 6] = [
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00+00:01",
    "0000-01-01T23:58:59+23:59",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-00:01",
    "9999-12-31T00:01:00-23:59",
];

/// Rules that a schema cannot say, each with the refusal of the decoder.
const UNSAID: [(&str, &str); 4] = [
    ("the month has no such day", "invalid_timestamp"),
    ("the instant lies outside the years 0000 to 9999 of UTC", "invalid_timestamp"),
    ("the end is not after the start", "invalid_interval"),
    ("the window is longer than 31 days", "out_of_range"),
];

/// The first rule of [`UNSAID`] that a body breaks which its schema admits.
fn unsaid(kind: Kind, body: &Value) -> Option<usize> {
    let mut instants = Vec::new();
    for name in ["start_at", "end_at"] {
        let Some(text) = body.get(name).and_then(Value::as_str) else { continue };
        let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().expect("digits");
        let year = i32::try_from(number(0..4)).expect("four digits");
        if NaiveDate::from_ymd_opt(year, number(5..7), number(8..10)).is_none() {
            return Some(0);
        }
        let instant: DateTime<Utc> = text.parse().expect("an instant");
        if !(0..=9_999).contains(&instant.year()) {
            return Some(1);
        }
        instants.push(instant);
    }
    let [start, end] = instants[..] else { return None };
    if end <= start {
        return Some(2);
    }
    let whole = (end - start).num_seconds();
    (kind == Kind::Availability && whole > 31 * 86_400).then_some(3)
}

/// A text that matches.
fn sample(rng: &mut StdRng, hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).expect("UTF-8"),
        HirKind::Class(class) => {
            let Class::Unicode(class) = class else { panic!("{class:?}") };
            let range = class.ranges().choose(rng).expect("not empty");
            rng.random_range(range.start()..=range.end()).to_string()
        }
        HirKind::Repetition(repeated) => {
            let most = repeated.max.unwrap_or(REPEATS_MAX);
            let times = match rng.random_range(0..3) {
                0 => repeated.min,
                1 => most,
                _ => rng.random_range(repeated.min..=most),
            };
            (0..times).map(|_| sample(rng, &repeated.sub)).collect()
        }
        HirKind::Capture(group) => sample(rng, &group.sub),
        HirKind::Concat(parts) => parts.iter().map(|part| sample(rng, part)).collect(),
        HirKind::Alternation(ways) => {
            let way = ways.choose(rng).expect("not empty");
            sample(rng, way)
        }
        HirKind::Look(_) | HirKind::Empty => String::new(),
    }
}

/// Near misses: one change of a text that matches.
fn mutate(rng: &mut StdRng, text: &str) -> String {
    const OTHERS: &[&str] = &[
        "t", "z", "T", "Z", ":", ".", ",", "-", "+", "_", " ", "\n", "0", "2", "9", "60", "a", "G",
        "\u{2212}", "\u{ff11}", "\u{661}", "\0", "\u{e9}",
    ];
    let mut chars: Vec<String> = text.chars().map(String::from).collect();
    let at = rng.random_range(0..=chars.len());
    let other = OTHERS.choose(rng).expect("some").to_string();
    match rng.random_range(0..6) {
        0 => chars.insert(at, other),
        1 if at < chars.len() => chars[at] = other,
        2 if at < chars.len() => drop(chars.remove(at)),
        3 => return text.to_lowercase(),
        4 => return text.to_uppercase(),
        _ => chars.push(other),
    }
    chars.concat()
}

/// JSON texts, near the bounds of one property.
fn property(rng: &mut StdRng, schema: &Value) -> String {
    const OTHER_TYPES: &[&str] = &["null", "true", "[]", "{}", "7", "1.5", "\"\"", "[1]"];
    if rng.random_bool(0.04) {
        return (*OTHER_TYPES.choose(rng).expect("some")).to_owned();
    }
    match schema["type"].as_str() {
        Some("integer") => integer(rng, schema),
        Some("string") => {
            if schema["format"] == "date-time" && rng.random_bool(0.1) {
                return Value::from(*EDGES.choose(rng).expect("some")).to_string();
            }
            let pattern = schema["pattern"].as_str().expect("each text has a pattern");
            let mut text = sample(rng, &regex_syntax::parse(pattern).expect("a pattern"));
            if rng.random_bool(0.15) {
                text = mutate(rng, &text);
            }
            Value::from(text).to_string()
        }
        other => panic!("{other:?}: teach the generator"),
    }
}

fn integer(rng: &mut StdRng, schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_i64().expect("each number has bounds");
    let (min, max) = (bound("minimum"), bound("maximum"));
    let near = [min - 1, min, min + 1, max - 1, max, max + 1, rng.random_range(min..=max)];
    let near = near.choose(rng).expect("some");
    match rng.random_range(0..8) {
        0..3 => near.to_string(),
        3 => format!("{near}.0"),
        4 => format!("{near}.000e0"),
        5 => format!("{}e-1", near * 10),
        6 => format!("{near}.5"),
        _ => {
            const FAR: &[&str] = &[
                "-0",
                "0.0",
                "-0.0",
                "2e1",
                "2E+1",
                "1e99",
                "-1e99",
                "1e-9",
                "9007199254740993.0",
                "9223372036854775807",
                "18446744073709551616",
                "1e400",
                "01",
                "+1",
                "1.",
                "0x1",
            ];
            (*FAR.choose(rng).expect("some")).to_owned()
        }
    }
}

/// An instant in one of the forms that the profile has.
fn instant(rng: &mut StdRng, at: DateTime<Utc>) -> String {
    let minutes = rng.random_range(-1_439..=1_439_i64);
    let local = (at + TimeDelta::minutes(minutes)).naive_utc();
    let fraction = ["", ".5", ".000000001", ".123456789"].choose(rng).expect("some");
    let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
    let offset = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    format!("{}{fraction}{offset}", local.format("%Y-%m-%dT%H:%M:%S"))
}

/// Two instants that are near each other, or about a longest window apart.
fn interval(rng: &mut StdRng) -> [String; 2] {
    let start: DateTime<Utc> = "2031-05-01T00:00:00Z".parse().expect("an instant");
    let apart = [-1, 0, 1, 60, 31 * 86_400 - 1, 31 * 86_400, 31 * 86_400 + 2];
    let end = start + TimeDelta::seconds(*apart.choose(rng).expect("some"));
    [start, end].map(|at| Value::from(instant(rng, at)).to_string())
}

/// The JSON text of a body: the schema's properties, with now and then one missing or one too many.
fn body(rng: &mut StdRng, schema: &Value) -> String {
    if rng.random_bool(0.01) {
        return (*["null", "[]", "1", "\"{}\"", ""].choose(rng).expect("some")).to_owned();
    }
    let properties = schema["properties"].as_object().expect("an object");
    let required = schema["required"].as_array();
    let mut fields: BTreeMap<&str, String> = BTreeMap::new();
    for (name, property_schema) in properties {
        let must = required.is_some_and(|names| names.iter().any(|must| must == name));
        if rng.random_bool(if must { 0.98 } else { 0.7 }) {
            fields.insert(name, property(rng, property_schema));
        }
    }
    if properties.contains_key("start_at") && rng.random_bool(0.5) {
        let [start, end] = interval(rng);
        fields.extend([("start_at", start), ("end_at", end)]);
    }
    if rng.random_bool(0.03) {
        let name = *["note", "Limit", "start-at", ""].choose(rng).expect("some");
        fields.insert(name, "1".to_owned());
    }
    let field = |(name, value): (&str, String)| format!("{}:{value}", Value::from(name));
    format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
}

/// `None` if it is taken, or the code of its refusal.
fn verdict(kind: Kind, body: &str) -> Option<&'static str> {
    let received = received(kind, body);
    let refused = match kind.is_query() {
        true => match decode_query(&received) {
            Decoded::Input(_) => return None,
            Decoded::Refused { refusal, .. } => refusal,
            other => panic!("{other:?}"),
        },
        false => match decode(&received, |account| account == "worker") {
            Decoded::Input(_) => return None,
            Decoded::Refused { refusal, .. } => refusal,
            other => panic!("{other:?}"),
        },
    };
    Some(refused.code.as_str())
}

#[test]
fn generated_bodies_are_judged_alike_by_schema_and_decoder() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unsaid_seen = [0; UNSAID.len()];
    for (seed, &kind) in Kind::ALL.iter().enumerate() {
        let mut rng = StdRng::seed_from_u64(seed as u64);
        let name = schema::name_of(kind);
        let (_, schema) = schema::all().into_iter().find(|(known, _)| *known == name).expect("one");
        let options = jsonschema::options().should_validate_formats(false);
        let validator = options.build(schema.as_value()).expect("a valid schema");
        let with_formats = super::validator(&name);
        for _ in 0..BODIES {
            let body = body(&mut rng, schema.as_value());
            let told = verdict(kind, &body);
            *seen.entry(told.unwrap_or("taken")).or_default() += 1;
            let Ok(value) = serde_json::from_str::<Value>(&body) else {
                assert_eq!(told, Some("invalid_json"), "{name}: {body}");
                continue;
            };
            if !validator.is_valid(&value) {
                assert!(told.is_some(), "{name}: only the schema refuses {body}");
                continue;
            }
            let rule = unsaid(kind, &value);
            assert_eq!(told, rule.map(|rule| UNSAID[rule].1), "{name}: the schema admits {body}");
            match rule {
                Some(rule) => unsaid_seen[rule] += 1,
                None => assert!(with_formats.is_valid(&value), "{name}: a format refuses {body}"),
            }
        }
    }
    for told in [
        "taken",
        "invalid_json",
        "unknown_field",
        "missing_field",
        "invalid_type",
        "out_of_range",
        "invalid_text",
        "invalid_timestamp",
        "invalid_interval",
    ] {
        assert!(seen.get(told).is_some_and(|count| *count >= 20), "{told}: {seen:?}");
    }
    let often = unsaid_seen.iter().all(|count| *count >= 20);
    assert!(often, "{:?}", UNSAID.iter().zip(unsaid_seen).collect::<Vec<_>>());
}

/// Each of these was an integer, or a timestamp, to one of the two only.
#[test]
fn integers_and_timestamps_have_one_meaning() {
    for integer in ["20", "20.0", "2e1", "50.000", "1E0"] {
        assert_eq!(verdict(Kind::List, &format!(r#"{{"limit":{integer}}}"#)), None, "{integer}");
    }
    for (integer, code) in [
        ("20.5", "invalid_type"),
        ("0.0", "out_of_range"),
        ("51.0", "out_of_range"),
        ("1e99", "out_of_range"),
        ("9007199254740993.0", "out_of_range"),
    ] {
        let told = verdict(Kind::List, &format!(r#"{{"limit":{integer}}}"#));
        assert_eq!(told, Some(code), "{integer}");
    }
    let end = |end: &str| {
        verdict(
            Kind::Request,
            &format!(r#"{{"start_at":"2031-05-01T18:00:00Z","end_at":"{end}"}}"#),
        )
    };
    for good in [
        "2031-05-01T20:00:00Z",
        "2031-05-01T20:00:00.123456789Z",
        "2031-05-01T20:00:00-00:00",
        "2031-05-02T19:59:00+23:59",
    ] {
        assert_eq!(end(good), None, "{good}");
    }
    for bad in [
        "2031-05-01t20:00:00Z",
        "2031-05-01T20:00:00z",
        "2031-05-01 20:00:00Z",
        "2031-05-01T20:00:00.1234567890Z",
        "2031-05-01T20:00:00.Z",
        "2031-05-01T20:00:60Z",
        "2031-05-01T24:00:00Z",
        "2031-05-01T20:00:00+24:00",
        "2031-05-01T20:00:00",
    ] {
        assert_eq!(end(bad), Some("invalid_timestamp"), "{bad}");
    }
}
