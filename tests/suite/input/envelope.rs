//! What can be wrong around a body: headers, properties, routing key.

use std::fmt::Debug;

use holdfast::domain::outcome::Refusal;
use holdfast::domain::refusal::Code;
use holdfast::message::decode::{Decoded, decode, decode_query};
use holdfast::message::envelope::{BODY_LEN_MAX, Received};
use lapin::types::{AMQPValue, FieldArray, FieldTable};

use super::message::{Message, text};
use super::{Case, KEY_LEN_MAX, accepted, refused, under_key};

pub fn cases(terminal: &str, bystander: &str) -> Vec<Case> {
    let mut cases = forbidden(terminal);
    cases.extend(ids(terminal));
    cases.extend(content(terminal));
    cases.extend(kinds(terminal));
    cases.extend(servers(terminal));
    cases.extend(harmless(terminal, bystander));
    cases
}

fn forbidden(terminal: &str) -> Vec<Case> {
    let good = || Message::request(terminal);
    let keys = || {
        let mut keys = FieldArray::default();
        keys.push(text(&format!("{terminal}.request.cam")));
        AMQPValue::FieldArray(keys)
    };
    let mut cases = vec![
        refused("priority", good().with(|m| m.priority = Some(9)), "forbidden_header", "priority"),
        refused(
            "priority 0",
            good().with(|m| m.priority = Some(0)),
            "forbidden_header",
            "priority",
        ),
        refused(
            "expiration",
            good().with(|m| m.expiration = Some("60000".into())),
            "forbidden_header",
            "expiration",
        ),
    ];
    for (name, field) in [
        ("CC", "headers.CC"),
        ("cc", "headers.cc"),
        ("bcc", "headers.bcc"),
        ("x-death", "headers.x-death"),
        ("x-first-death-queue", "headers.x-first-death-queue"),
        ("x-delay", "headers.x-delay"),
        ("X-Anything", "headers.X-Anything"),
        ("x-\u{1b}[31m", "headers.x-?[31m"),
    ] {
        let message = good().header(name, keys());
        cases.push(refused(format!("header {name:?}"), message, "forbidden_header", field));
    }
    cases
}

fn ids(terminal: &str) -> Vec<Case> {
    let good = || Message::request(terminal);
    let no_id = good().with(|m| m.message_id = None);
    let mut cases = vec![refused("no message id", no_id, "missing_message_id", "message_id")];
    let long = "a".repeat(129);
    let longest = "a".repeat(255);
    for id in [
        "",
        " ",
        "a b",
        "a/b",
        "a\0b",
        "\0",
        "a\n",
        "\u{1b}[31m",
        "é",
        "e\u{301}",
        "а", // Cyrillic
        "a\u{202e}b",
        "a\u{200d}",
        "ａ",
        "'; drop table processed_commands; --",
        "a,b",
        "{a}",
        "%s",
        &long,
        &longest,
    ] {
        let message = good().with(|m| m.message_id = Some(id.to_owned()));
        cases.push(refused(
            format!("message id {id:?}"),
            message,
            "invalid_message_id",
            "message_id",
        ));
    }
    for id in ["a".repeat(128), "Az09._:-".to_owned(), "-".to_owned()] {
        let message = good().with(|m| m.message_id = Some(id.clone()));
        cases.push(accepted(format!("message id {id}"), message));
    }
    cases
}

fn content(terminal: &str) -> Vec<Case> {
    let good = || Message::request(terminal);
    let mut cases = Vec::new();
    for content_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/xml"),
        Some("application/jsonx"),
        Some("application/cloudevents+json"),
        Some("application"),
        Some("\0"),
    ] {
        let message = good().with(|m| m.content_type = content_type.map(str::to_owned));
        let name = format!("content type {content_type:?}");
        cases.push(refused(name, message, "unsupported_content", "content_type"));
    }
    for encoding in ["gzip", "identity", "deflate, gzip", "\0"] {
        let message = good().with(|m| m.content_encoding = Some(encoding.to_owned()));
        let name = format!("content encoding {encoding:?}");
        cases.push(refused(name, message, "unsupported_content", "content_encoding"));
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let message = good().with(|m| m.content_type = Some(content_type.to_owned()));
        cases.push(accepted(format!("content type {content_type}"), message));
    }
    let no_encoding = good().with(|m| m.content_encoding = Some(String::new()));
    cases.push(accepted("empty content encoding", no_encoding));
    cases
}

fn kinds(terminal: &str) -> Vec<Case> {
    let good = || Message::request(terminal);
    let mut cases = Vec::new();
    let long = "r".repeat(KEY_LEN_MAX - terminal.len() - "..cam".len());
    for word in [
        "",
        "refund",
        "REQUEST",
        "request ",
        "wake_up",
        "fence",
        "probe",
        "p0",
        "\0",
        "*",
        "#",
        "requеst", // Cyrillic
        // Queries have a queue of their own.
        "show",
        "list",
        "availability",
        &long,
    ] {
        let message = good().with(|m| m.routing_key = format!("{terminal}.{word}.cam"));
        cases.push(refused(format!("command {word:?}"), message, "unknown_command", "routing_key"));
    }
    for kind in
        ["reconfirm", "wake_up", "fence", "show", "REQUEST", "", "reservation.accepted", "\0"]
    {
        let message = good().with(|m| m.kind = Some(kind.to_owned()));
        cases.push(refused(format!("type {kind:?}"), message, "inconsistent_message", "type"));
    }
    cases.push(accepted("type request", good().with(|m| m.kind = Some("request".into()))));
    let list = || Message::command(terminal, "list", "{}");
    for kind in ["show", "request", "LIST", ""] {
        let message = list().with(|m| m.kind = Some(kind.to_owned()));
        let name = format!("query of type {kind:?}");
        cases.push(refused(name, message, "inconsistent_message", "type"));
    }
    cases
}

/// Words of the routing key that are missing, too many or no server.
fn servers(terminal: &str) -> Vec<Case> {
    const FIELD: &str = "routing_key";
    let mut cases = Vec::new();
    let mut case = |key: &str, code| {
        let message = under_key(Message::request(terminal), format!("{terminal}.{key}"));
        cases.push(refused(format!("routing key {key:.40?}"), message, code, FIELD));
    };
    for key in ["", "refund", "refund.cam.x", ".request.cam", "show.", "list.x.y", "p0"] {
        case(key, "unknown_command");
    }
    for key in ["request", "reconfirm", "withdraw"] {
        case(key, "missing_field");
    }
    let long = "c".repeat(65);
    for server in [
        "",
        ".",
        ".cam",
        "cam.",
        "cam.x",
        "x.cam",
        "cam.1.2",
        "Cam",
        "cam\0",
        "cam ",
        "саm",
        "ｃam",
        "cam\u{200b}",
        "*",
        "#",
        "*.cam",
        &long,
        &"c".repeat(KEY_LEN_MAX),
    ] {
        for kind in ["request", "reconfirm", "withdraw"] {
            case(&format!("{kind}.{server}"), "invalid_text");
        }
    }
    cases
}

/// Unusual, and accepted: nothing reads it.
fn harmless(terminal: &str, bystander: &str) -> Vec<Case> {
    let good = || Message::request(terminal);
    let own = format!("{terminal}.request.cam");
    let mut cases = vec![
        // The broker removes this one; it has no other queue to send the message to.
        accepted("BCC", good().copied("BCC", &[&own])),
        accepted(
            "correlation id",
            good().with(|m| m.correlation_id = Some("x\u{1b}[31m\0".into())),
        ),
        accepted("a long header", good().header("note", text(&"n".repeat(100_000)))),
        accepted("a header that is no text", good().header("note", AMQPValue::Double(0.5))),
        accepted("a trace that is none", good().header("traceparent", text("\u{1b}[31m\r\n"))),
        accepted("a trace of a number", good().header("traceparent", AMQPValue::LongInt(1))),
    ];
    // The routing key alone names the server.
    for value in [
        text("other"),
        text(&"c".repeat(10_000)),
        AMQPValue::LongInt(7),
        AMQPValue::Boolean(true),
        AMQPValue::Void,
        AMQPValue::Double(0.5),
        AMQPValue::Timestamp(1),
        AMQPValue::FieldArray(FieldArray::default()),
        AMQPValue::FieldTable(FieldTable::default()),
        AMQPValue::ByteArray(b"cam".to_vec().into()),
        AMQPValue::LongString(b"\xff\xfe".to_vec().into()),
    ] {
        let name = format!("header server {value:.40?}");
        cases.push(accepted(name, good().header("server", value)));
    }
    for target in [
        format!("reservation.replies.v1.{bystander}"),
        bystander.to_owned(),
        "billing.entries.v1".to_owned(),
        "amq.gen-JzTY20BRgKO-HjmUJj0wLg".to_owned(),
    ] {
        let message = good().with(|m| m.reply_to = Some(target.clone()));
        cases.push(accepted(format!("reply to {target}"), message));
    }
    let many = (0..1_000).fold(good(), |m, n| m.header(&format!("h{n}"), AMQPValue::LongInt(n)));
    cases.push(accepted("a thousand headers", many));
    let long_trace = good().header("traceparent", text(&"0".repeat(100_000)));
    cases.push(accepted("a long trace", long_trace));
    cases
}

/// The documented order: a message that is wrong in every way gets the first code, and the next one
/// once that is corrected.
#[test]
fn an_envelope_gets_the_first_code_of_all_it_breaks() {
    let id = br#"{"reservation":"00000000-0000-0000-0000-000000000000"}"#;
    assert_eq!(
        corrected("t-1.withdraw.cam", |r| decode(r, |account| account == "worker"), id),
        None
    );
    assert_eq!(corrected("t-1.show", decode_query, id), None);
}

/// Corrects a message step by step until it is decoded. Returns the code that it has at the end.
fn corrected<T: Debug>(
    key: &str,
    decode: impl Fn(&Received) -> Decoded<T>,
    body: &[u8],
) -> Option<Code> {
    let mut received = Received {
        routing_key: "other.refund".to_owned(),
        user_id: Some("t-1".to_owned()),
        forbidden_properties: vec!["priority"],
        body: vec![0xff; BODY_LEN_MAX + 1],
        ..Received::default()
    };
    let corrections: [&dyn Fn(&mut Received); 8] = [
        &|r| r.routing_key = "t-1.refund".to_owned(),
        &|r| r.forbidden_properties.clear(),
        &|r| r.message_id = Some("a b".to_owned()),
        &|r| r.message_id = Some("m-1".to_owned()),
        &|r| r.content_type = Some("application/json".to_owned()),
        &|r| r.body.truncate(9),
        &|r| r.routing_key = key.to_owned(),
        &|r| r.body = body.to_vec(),
    ];
    let code = |received: &Received| match decode(received) {
        Decoded::Refused { refusal, .. } => Some(refusal.code),
        Decoded::Input(_) => None,
        other => panic!("{other:?}"),
    };
    let mut codes = Vec::new();
    for correct in corrections {
        codes.extend(code(&received));
        correct(&mut received);
    }
    let last = Code::ALL.iter().position(|code| *code == Code::InvalidEncoding).expect("listed");
    assert_eq!(codes, Code::ALL[..=last]);
    code(&received)
}

/// Each queue has its own messages, whatever a header sends to it.
#[test]
fn a_message_of_another_queue_is_no_command_there() {
    let of = |key: &str| Received {
        routing_key: key.to_owned(),
        user_id: Some("t-1".to_owned()),
        message_id: Some("m-1".to_owned()),
        content_type: Some("application/json".to_owned()),
        body: b"{}".to_vec(),
        ..Received::default()
    };
    let refused = |refusal: Refusal| (refusal.code, refusal.field);
    let unknown = (Code::UnknownCommand, Some("routing_key".to_owned()));
    for key in ["t-1.show", "t-1.list", "t-1.availability", "t-1.list.cam"] {
        let decoded = decode(&of(key), |account| account == "worker");
        let Decoded::Refused { refusal, .. } = decoded else { panic!("{decoded:?}") };
        assert_eq!(refused(refusal), unknown, "{key}");
    }
    for key in ["t-1.request.cam", "t-1.reconfirm.cam", "t-1.withdraw.cam", "t-1.request"] {
        let decoded = decode_query(&of(key));
        let Decoded::Refused { refusal, .. } = decoded else { panic!("{decoded:?}") };
        assert_eq!(refused(refusal), unknown, "{key}");
    }
}
