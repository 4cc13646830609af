//! Fuzz target: the decoder of commands and wake-ups.

use chrono::{DateTime, Datelike};
use holdfast::client::Command as Rendered;
use holdfast::domain::input::{Action, Command, Input, WakeUp};
use holdfast::domain::interval::{Interval, Timestamp};
use holdfast::domain::outcome::Refusal;
use holdfast::domain::refusal::{Code, Retry};
use holdfast::engine::render;
use holdfast::message::answer::Answer;
use holdfast::message::decode::{Decoded, decode};
use holdfast::message::envelope::{BODY_LEN_MAX, DeadReason, MESSAGE_ID_LEN_MAX, Received};
use holdfast::message::wake_up;
use holdfast::worker::partition::outgoing::dead_letter;
use serde_json::Value;

/// The workers' account: only its wake-ups are accepted.
pub const WORKER: &str = "worker";

/// Longest answer to a message that was refused without a decision.
const REFUSAL_LEN_MAX: usize = 1_000;

/// Longest header of a dead letter.
const REPEATED_LEN_MAX: usize = 64;

/// Decodes a message in the form of [`read`] and checks the outcome.
pub fn run(input: &[u8]) {
    check(&read(input));
}

/// Reads a message: lines of `name: value`, an empty line, and the body.
pub fn read(input: &[u8]) -> Received {
    let mut received = Received::default();
    let mut rest = input;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]);
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((&*line, ""));
        set(&mut received, name, value.to_owned());
    }
    received.body = rest.to_vec();
    received
}

fn set(received: &mut Received, name: &str, value: String) {
    match name {
        "routing_key" => received.routing_key = value,
        "user_id" => received.user_id = Some(value),
        "message_id" => received.message_id = Some(value),
        "type" => received.kind = Some(value),
        "content_type" => received.content_type = Some(value),
        "content_encoding" => received.content_encoding = Some(value),
        "priority" => received.forbidden_properties.push("priority"),
        "expiration" => received.forbidden_properties.push("expiration"),
        "server" => received.server = Some(Ok(value)),
        "server_no_text" => received.server = Some(Err(())),
        "header" => received.header_names.push(value),
        _ => {}
    }
}

/// Decodes a message, checks the outcome by other means than the decoder's own, and names it.
pub fn check(received: &Received) -> &'static str {
    match decode(received, WORKER) {
        Decoded::Input(Input::Command(command)) => {
            check_command(received, &command);
            "a step"
        }
        Decoded::Input(Input::WakeUp(wake_up)) => {
            check_wake_up(received, wake_up);
            "a step"
        }
        Decoded::Input(step) => panic!("it is never sent as a message: {step:?}"),
        Decoded::Refused { terminal, refusal } => {
            assert_eq!(received.user_id.as_deref(), Some(terminal.as_str()));
            check_refusal(received, &refusal);
            refusal.code.as_str()
        }
        Decoded::Dead(reason) => {
            check_dead(received, reason);
            reason.as_str()
        }
    }
}

fn check_wake_up(received: &Received, wake_up: WakeUp) {
    assert_eq!(received.user_id.as_deref(), Some(WORKER));
    assert_eq!(received.kind.as_deref(), Some("wake_up"));
    assert_eq!(wake_up::decode(wake_up::encode(&wake_up).as_bytes()), Some(wake_up));
}

fn check_command(received: &Received, command: &Command) {
    assert_eq!(received.user_id.as_deref(), Some(command.terminal.as_str()));
    assert_eq!(received.message_id.as_deref(), Some(command.message_id.as_str()));
    assert!((1..=MESSAGE_ID_LEN_MAX).contains(&command.message_id.len()));
    assert!(command.message_id.bytes().all(|b| b.is_ascii_graphic()));
    assert!(received.forbidden_properties.is_empty());
    assert!(received.body.len() <= BODY_LEN_MAX);
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    let fields = body.as_object().expect("an object");
    let (word, count) = match &command.action {
        Action::Request(interval) => {
            assert_eq!(body["server"].as_str(), command.server.as_ref().map(|id| id.as_str()));
            check_interval(&body, interval);
            ("request", 3)
        }
        Action::Reconfirm(_) => ("reconfirm", 1),
        Action::Withdraw(_) => ("withdraw", 1),
        Action::Show(_) => ("show", 1),
        Action::List(page) => {
            assert!((1..=50).contains(&page.limit));
            assert_eq!(body.get("after").is_some(), page.after.is_some());
            ("list", fields.len().min(2))
        }
        Action::Availability(window) => {
            assert_eq!(body["server"].as_str(), Some(window.server.as_str()));
            check_interval(&body, &window.interval);
            assert!(window.interval.seconds() <= 31 * 86_400);
            ("availability", 3)
        }
    };
    assert_eq!(received.routing_key, format!("{}.{word}", command.terminal));
    assert_eq!(fields.len(), count);
    check_again(received, command);
}

fn check_interval(body: &Value, interval: &Interval) {
    assert!(interval.start < interval.end);
    for (name, read) in [("start_at", interval.start), ("end_at", interval.end)] {
        let text = body[name].as_str().expect("a text");
        assert!(text.is_ascii() && &text[10..11] == "T" && &text[17..19] < "60", "{text}");
        assert_eq!(DateTime::parse_from_rfc3339(text).expect("a timestamp"), read, "{text}");
        assert!((0..=9_999).contains(&read.year()), "{text}");
        // PostgreSQL, which stores microseconds in 64 bits, can store it.
        let micros: Timestamp =
            DateTime::from_timestamp_micros(read.timestamp_micros()).expect("it");
        assert!(micros <= read);
    }
}

/// A command that the client renders again means the same.
fn check_again(received: &Received, command: &Command) {
    let id = command.message_id.clone();
    let server = command.server.as_ref().map_or("", |server| server.as_str());
    let rendered = match &command.action {
        Action::Request(interval) => Rendered::request(id, server, interval.start, interval.end),
        Action::Reconfirm(reservation) => Rendered::reconfirm(id, server, *reservation),
        Action::Withdraw(reservation) => Rendered::withdraw(id, server, *reservation),
        Action::Show(reservation) => Rendered::show(id, *reservation),
        Action::List(page) => Rendered::list(id, i64::try_from(page.limit).ok(), page.after),
        Action::Availability(window) => {
            let Interval { start, end } = window.interval;
            Rendered::availability(id, window.server.as_str(), start, end)
        }
    };
    let anew = Received { body: rendered.body, ..received.clone() };
    match decode(&anew, WORKER) {
        Decoded::Input(Input::Command(again)) => {
            assert_eq!(format!("{:?}", again.action), format!("{:?}", command.action));
            assert_eq!(again.digest == command.digest, anew.body == received.body);
        }
        other => panic!("rendered anew it is {other:?}: {anew:?}"),
    }
}

fn check_refusal(received: &Received, refusal: &Refusal) {
    let place = |code| Code::ALL.iter().position(|other| *other == code).expect("a listed code");
    assert!(place(refusal.code) < place(Code::RateLimited), "{refusal:?} takes a decision");
    assert_eq!(refusal.code.retry(), Retry::Never);
    let named = refusal.field.as_deref().unwrap_or_default();
    assert!(named.bytes().all(|b| b.is_ascii_graphic()), "{named:?}");
    let reply = render::refused("t-1", received.usable_message_id(), refusal);
    assert!(reply.body.len() < REFUSAL_LEN_MAX, "{}", reply.body);
    assert_eq!(reply.type_name, "reservation.refused");
    assert!(reply.message_id.iter().all(|id| id.len() <= MESSAGE_ID_LEN_MAX && id.is_ascii()));
    match serde_json::from_str(&reply.body).expect("an answer") {
        Answer::Refused { code, field, decided_at: None, .. } => {
            assert_eq!(code, refusal.code.as_str());
            assert_eq!(field, refusal.field);
        }
        other => panic!("{other:?}"),
    }
}

fn check_dead(received: &Received, reason: DeadReason) {
    assert!(matches!(reason, DeadReason::Unauthenticated | DeadReason::InvalidWakeUp));
    let letter = dead_letter(received, reason, 0);
    assert!(letter.body.len() <= BODY_LEN_MAX && received.body.starts_with(&letter.body));
    for (name, value) in &letter.headers {
        let plain = value.bytes().all(|b| b.is_ascii_graphic());
        assert!(plain && value.len() <= REPEATED_LEN_MAX, "{name}: {value:?}");
    }
}
