//! Fuzz target: the decoder of commands, queries, wake-ups and fences.

use chrono::{DateTime, Datelike};
use holdfast::client::Command as Rendered;
use holdfast::domain::id::TerminalId;
use holdfast::domain::input::{Action, Command, Fence, Input, WakeUp};
use holdfast::domain::interval::{Interval, Timestamp};
use holdfast::domain::outcome::Refusal;
use holdfast::domain::query::{Asked, Query};
use holdfast::domain::refusal::{Code, Retry};
use holdfast::engine::render;
use holdfast::message::answer::Answer;
use holdfast::message::dead_letter::header;
use holdfast::message::decode::{Decoded, decode, decode_query};
use holdfast::message::envelope::{BODY_LEN_MAX, DeadReason, MESSAGE_ID_LEN_MAX, Received};
use holdfast::message::{fence, wake_up};
use holdfast::worker::outgoing::dead_letter;
use serde_json::Value;

/// The workers' account: only its wake-ups and fences are accepted.
pub const WORKER: &str = "worker";

/// Second words of queries' routing keys.
const QUERIES: [&str; 3] = ["show", "list", "availability"];

/// The outcome of what is to be decided or answered.
const STEP: &str = "a step";

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
        "header" => received.header_names.push(value),
        _ => {}
    }
}

/// Decodes a message of either queue, checks the outcome by other means than the decoder's own, and
/// names the one of the queue that its routing key leads to. In the other queue it asks for nothing.
pub fn check(received: &Received) -> &'static str {
    let (command, query) = (check_command_queue(received), check_query_queue(received));
    let word = received.routing_key.split('.').nth(1).unwrap_or_default();
    if QUERIES.contains(&word) {
        assert!(command != STEP || is_worker(received), "a query is taken for a command");
        query
    } else {
        assert_ne!(query, STEP, "a command is taken for a query");
        command
    }
}

fn is_worker(received: &Received) -> bool {
    received.user_id.as_deref() == Some(WORKER)
}

fn check_command_queue(received: &Received) -> &'static str {
    let decoded = decode(received, |account| account == WORKER);
    match &decoded {
        Decoded::Input(Input::Command(command)) => check_command(received, command),
        Decoded::Input(Input::WakeUp(wake_up)) => check_wake_up(received, *wake_up),
        Decoded::Input(Input::Fence(fence)) => check_fence(received, fence),
        Decoded::Input(step) => panic!("it is never sent as a message: {step:?}"),
        _ => {}
    }
    check_decoded(received, &decoded)
}

fn check_query_queue(received: &Received) -> &'static str {
    let decoded = decode_query(received);
    if let Decoded::Input(query) = &decoded {
        check_query(received, query);
    }
    check_decoded(received, &decoded)
}

fn check_decoded<T>(received: &Received, decoded: &Decoded<T>) -> &'static str {
    match decoded {
        Decoded::Input(_) => STEP,
        Decoded::Refused { terminal, refusal } => {
            assert_eq!(received.user_id.as_deref(), Some(terminal.as_str()));
            check_refusal(received, refusal);
            refusal.code.as_str()
        }
        Decoded::Dead(reason) => {
            check_dead(received, *reason);
            reason.as_str()
        }
        Decoded::Probe(answered) => {
            assert_eq!(
                (received.user_id.as_deref(), received.kind.as_deref()),
                (None, Some("probe"))
            );
            assert!(answered.is_none() || received.from_ladder);
            "probe"
        }
    }
}

fn check_wake_up(received: &Received, wake_up: WakeUp) {
    assert_eq!(received.user_id.as_deref(), Some(WORKER));
    assert_eq!(received.kind.as_deref(), Some("wake_up"));
    assert_eq!(wake_up::decode(wake_up::encode(&wake_up).as_bytes()), Some(wake_up));
}

fn check_fence(received: &Received, fence: &Fence) {
    assert!(is_worker(received));
    assert_eq!(received.kind.as_deref(), Some("fence"));
    assert_eq!(fence::decode(fence::encode(fence).as_bytes()).as_ref(), Some(fence));
}

/// What is common to all that is decided or answered. Returns the body.
fn check_envelope(received: &Received, terminal: &TerminalId, message_id: &str) -> Value {
    assert_eq!(received.user_id.as_deref(), Some(terminal.as_str()));
    assert_eq!(received.message_id.as_deref(), Some(message_id));
    assert!((1..=MESSAGE_ID_LEN_MAX).contains(&message_id.len()));
    assert!(message_id.bytes().all(|b| b.is_ascii_graphic()));
    assert!(received.forbidden_properties.is_empty());
    assert!(received.body.len() <= BODY_LEN_MAX);
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    assert!(body.is_object());
    body
}

fn check_command(received: &Received, command: &Command) {
    let body = check_envelope(received, &command.terminal, &command.message_id);
    let (word, count) = match &command.action {
        Action::Request(interval) => {
            check_interval(&body, interval);
            ("request", 2)
        }
        Action::Reconfirm(_) => ("reconfirm", 1),
        Action::Withdraw(_) => ("withdraw", 1),
    };
    let server = command.server.as_str();
    assert!((1..=64).contains(&server.len()));
    assert!(server.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
    assert_eq!(received.routing_key, format!("{}.{word}.{server}", command.terminal));
    assert_eq!(fields(&body), count);
    check_again(received, command);
}

fn check_query(received: &Received, query: &Query) {
    let body = check_envelope(received, &query.terminal, &query.message_id);
    let (word, count) = match &query.asked {
        Asked::Reservation(_) => ("show", 1),
        Asked::Page(page) => {
            assert!((1..=50).contains(&page.limit));
            assert_eq!(body.get("after").is_some(), page.after.is_some());
            ("list", fields(&body).min(2))
        }
        Asked::Availability(window) => {
            assert_eq!(body["server"].as_str(), Some(window.server.as_str()));
            check_interval(&body, &window.interval);
            assert!(window.interval.seconds() <= 31 * 86_400);
            ("availability", 3)
        }
    };
    let key = format!("{}.{word}", query.terminal);
    let rest = received.routing_key.strip_prefix(&key).expect("its own key");
    assert!(rest.is_empty() || rest.starts_with('.'));
    assert_eq!(fields(&body), count);
    check_asked_again(received, query);
}

fn fields(body: &Value) -> usize {
    body.as_object().map_or(0, |fields| fields.len())
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
    let (id, server) = (command.message_id.clone(), command.server.as_str());
    let rendered = match &command.action {
        Action::Request(interval) => Rendered::request(id, server, interval.start, interval.end),
        Action::Reconfirm(reservation) => Rendered::reconfirm(id, server, *reservation),
        Action::Withdraw(reservation) => Rendered::withdraw(id, server, *reservation),
    };
    let anew = Received { body: rendered.body, ..received.clone() };
    match decode(&anew, |account| account == WORKER) {
        Decoded::Input(Input::Command(again)) => {
            assert_eq!(format!("{:?}", again.action), format!("{:?}", command.action));
            assert_eq!(again.server, command.server);
            assert_eq!(again.digest == command.digest, anew.body == received.body);
        }
        other => panic!("rendered anew it is {other:?}: {anew:?}"),
    }
}

/// So does a query.
fn check_asked_again(received: &Received, query: &Query) {
    let id = query.message_id.clone();
    let rendered = match &query.asked {
        Asked::Reservation(reservation) => Rendered::show(id, *reservation),
        Asked::Page(page) => Rendered::list(id, i64::try_from(page.limit).ok(), page.after),
        Asked::Availability(window) => {
            let Interval { start, end } = window.interval;
            Rendered::availability(id, window.server.as_str(), start, end)
        }
    };
    let anew = Received { body: rendered.body, ..received.clone() };
    match decode_query(&anew) {
        Decoded::Input(again) => {
            assert_eq!(format!("{:?}", again.asked), format!("{:?}", query.asked));
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
    assert!(matches!(
        reason,
        DeadReason::Unauthenticated | DeadReason::InvalidWakeUp | DeadReason::InvalidFence
    ));
    let now = Timestamp::UNIX_EPOCH;
    let letter = dead_letter(received, reason, Some(0), "worker_1", now);
    assert!(letter.body.len() <= BODY_LEN_MAX && received.body.starts_with(&letter.body));
    assert_eq!(letter.user_id.as_deref(), Some("worker_1"), "the broker vouches for it");
    for (name, value) in &letter.headers {
        assert!(header::ALL.contains(name), "{name}");
        let short = value.len() <= REPEATED_LEN_MAX;
        assert!(short || texts_of(received).contains(&value.as_str()), "{name}: {value:?}");
    }
}

/// The texts that a letter keeps as they came.
fn texts_of(received: &Received) -> Vec<&str> {
    let Received { user_id, message_id, kind, content_type, content_encoding, .. } = received;
    let properties = [user_id, message_id, kind, content_type, content_encoding];
    let properties = properties.into_iter().flatten().map(String::as_str);
    let names = received.header_names.iter().map(String::as_str);
    properties.chain(names).chain([received.routing_key.as_str()]).collect()
}
