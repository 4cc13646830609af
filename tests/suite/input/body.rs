//! What can be wrong with a body as JSON.

use holdfast::message::envelope::BODY_LEN_MAX;
use serde_json::{Value, json};

use super::message::Message;
use super::{Case, accepted, refused};
use crate::support::terminal::window;

pub fn cases(terminal: &str) -> Vec<Case> {
    let mut cases = encodings(terminal);
    cases.extend(not_one_object(terminal));
    cases.extend(sizes(terminal));
    cases.extend(fields(terminal));
    cases.extend(types(terminal));
    cases
}

fn good_body() -> Value {
    let (start, end) = window(86_400, 60);
    json!({ "start_at": start, "end_at": end })
}

fn with_body(terminal: &str, body: impl Into<Vec<u8>>) -> Message {
    Message::command(terminal, "request", body)
}

fn encodings(terminal: &str) -> Vec<Case> {
    let good = good_body().to_string();
    let utf16 = |mark: &[u8], order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        mark.iter().copied().chain(good.encode_utf16().flat_map(order)).collect()
    };
    let mut latin = good.clone().into_bytes();
    latin.insert(2, 0xe9);
    let mut surrogate = good.clone().into_bytes();
    surrogate.splice(2..2, [0xed, 0xa0, 0x80]);
    let mut overlong = good.clone().into_bytes();
    overlong.splice(2..2, [0xc0, 0xaf]);
    [
        ("a byte order mark", format!("\u{feff}{good}").into_bytes()),
        ("only a byte order mark", "\u{feff}".into()),
        ("UTF-16, little end first", utf16(&[0xff, 0xfe], u16::to_le_bytes)),
        ("UTF-16, big end first", utf16(&[0xfe, 0xff], u16::to_be_bytes)),
        ("Latin-1", latin),
        ("half a surrogate pair", surrogate),
        ("an overlong form", overlong),
        ("random bytes", (0..=255).collect()),
    ]
    .into_iter()
    .map(|(name, body)| refused(name, with_body(terminal, body), "invalid_encoding", ""))
    .collect()
}

fn not_one_object(terminal: &str) -> Vec<Case> {
    let good = good_body().to_string();
    let deep = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    let bodies = vec![
        ("empty", String::new()),
        ("white space", " \r\n\t".into()),
        ("UTF-16 without a mark", good.chars().flat_map(|c| [c, '\0']).collect()),
        ("truncated", good[..good.len() - 1].into()),
        ("cut in a text", good[..good.len() - 5].into()),
        ("one brace", "{".into()),
        ("trailing garbage", format!("{good}x")),
        ("a trailing NUL", format!("{good}\0")),
        ("two documents", format!("{good}{good}")),
        ("two lines", format!("{good}\n{good}")),
        ("a closing brace more", format!("{good}}}")),
        ("10 000 arrays", deep("[", "]", 8_000)),
        ("10 000 arrays, not closed", deep("[", "", 10_000)),
        ("deep objects", deep("{\"a\":", "}", 2_000)),
        ("depth in a field", format!("{{\"start_at\":{}}}", deep("[", "]", 8_000))),
        ("an array", "[]".into()),
        ("an array of fields", r#"["2031-05-01T18:00:00Z","2031-05-01T19:00:00Z"]"#.into()),
        ("a command in an array", format!("[{good}]")),
        ("null", "null".into()),
        ("true", "true".into()),
        ("a number", "17".into()),
        ("a text", "\"request\"".into()),
        ("no number", "NaN".into()),
        ("single quotes", good.replace('"', "'")),
        ("names without quotes", good.replace("\"start_at\"", "start_at")),
        ("a comment", format!("/* hello */{good}")),
        ("a trailing comma", good.replace('}', ",}")),
        ("a raw NUL in a text", good.replace('T', "\0")),
        ("a raw line break in a text", good.replace('T', "\n")),
        ("half a surrogate pair, escaped", good.replace('T', "\\ud800")),
        ("an unknown escape", good.replace('T', "\\x41")),
        ("form data", "start_at=now&end_at=then".into()),
        ("XML", "<request start_at=\"now\"/>".into()),
        ("a number out of all bounds", r#"{"start_at":1e309}"#.into()),
    ];
    bodies
        .into_iter()
        .map(|(name, body)| refused(name, with_body(terminal, body), "invalid_json", ""))
        .collect()
}

fn sizes(terminal: &str) -> Vec<Case> {
    let good = good_body().to_string();
    let padded = |len: usize| format!("{good}{}", " ".repeat(len - good.len()));
    vec![
        accepted("as long as a body may be", with_body(terminal, padded(BODY_LEN_MAX))),
        refused(
            "one byte longer",
            with_body(terminal, padded(BODY_LEN_MAX + 1)),
            "body_too_large",
            "",
        ),
        refused("a megabyte", with_body(terminal, padded(1 << 20)), "body_too_large", ""),
        refused("a megabyte of zeros", with_body(terminal, vec![0; 1 << 20]), "body_too_large", ""),
    ]
}

fn fields(terminal: &str) -> Vec<Case> {
    let good = good_body().to_string();
    let twice = |doubled: &str| format!("{},{doubled}}}", &good[..good.len() - 1]);
    let mut cases = Vec::new();
    for (name, body, field) in [
        ("a field twice", twice(r#""start_at":"2031-05-01T18:00:00Z""#), "start_at"),
        ("a field twice, differently", twice(r#""end_at":null"#), "end_at"),
        ("a field twice, escaped", twice(r#""\u0073tart_at":"now""#), "start_at"),
        ("an unknown field twice", twice(r#""a":1,"a":2"#), "a"),
    ] {
        cases.push(refused(name, with_body(terminal, body), "duplicate_field", field));
    }
    for (name, more, field) in [
        ("an unknown field", r#""user":"bob""#, "user"),
        ("another's name", r#""terminal":"bob""#, "terminal"),
        ("another's account", r#""user_id":"bob""#, "user_id"),
        ("a version", r#""version":2"#, "version"),
        ("a kind", r#""type":"withdraw""#, "type"),
        ("an unknown object", r#""policy":{"capacity":9}"#, "policy"),
        ("an unknown null", r#""note":null"#, "note"),
        ("a server beside the routing key's", r#""server":"cam""#, "server"),
        ("another server than the routing key's", r#""server":"other""#, "server"),
        ("another case", r#""Start_at":"now""#, "Start_at"),
        ("an empty name", r#""":1"#, ""),
        ("a lookalike", r#""ѕtart_at":"now""#, "?tart_at"), // Cyrillic
        ("a name that colours", r#""\u001b[31m":1"#, "?[31m"),
    ] {
        let mut case = refused(name, with_body(terminal, twice(more)), "unknown_field", field);
        case.expected = super::Expected::Refused("unknown_field", Some(field));
        cases.push(case);
    }
    for field in ["start_at", "end_at"] {
        let mut body = good_body();
        body.as_object_mut().expect("an object").remove(field);
        let message = with_body(terminal, body.to_string());
        cases.push(refused(format!("no {field}"), message, "missing_field", field));
    }
    let no_server = Message::command(terminal, "availability", good_body().to_string());
    cases.push(refused("availability: no server", no_server, "missing_field", "server"));
    for kind in ["reconfirm", "withdraw", "show"] {
        let id = uuid::Uuid::nil();
        let command = |body: String| Message::command(terminal, kind, body);
        let name = |what: &str| format!("{kind}: {what}");
        let more = format!(r#"{{"reservation":"{id}","server":"cam"}}"#);
        cases.push(refused(name("more"), command(more), "unknown_field", "server"));
        cases.push(refused(name("nothing"), command("{}".into()), "missing_field", "reservation"));
    }
    cases
}

fn types(terminal: &str) -> Vec<Case> {
    let wrong = [
        "null",
        "true",
        "0",
        "-0",
        "1.5",
        "18446744073709551616",
        "1e300",
        "[]",
        "{}",
        "[\"cam\"]",
        "{\"a\":{\"b\":[]}}",
    ];
    let mut cases = Vec::new();
    for value in wrong {
        let value: &'static str = value;
        for (kind, field) in
            [("request", "start_at"), ("request", "end_at"), ("availability", "server")]
        {
            let mut body = good_body();
            body[field] = json!("@");
            let body = body.to_string().replace("\"@\"", value);
            let message = Message::command(terminal, kind, body);
            cases.push(refused(format!("{field} {value}"), message, "invalid_type", field));
        }
        let body = format!(r#"{{"reservation":{value}}}"#);
        let message = Message::command(terminal, "show", body);
        cases.push(refused(format!("reservation {value}"), message, "invalid_type", "reservation"));
    }
    cases
}
