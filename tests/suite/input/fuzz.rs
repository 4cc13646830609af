//! Random mutations of valid messages, through the decoder alone.

use std::collections::HashMap;

use holdfast::client::Command;
use holdfast::message::envelope::Received;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::Value;
use uuid::Uuid;

use crate::fuzzed::targets::decode::{WORKER, check};
use crate::support::terminal::window;

const ROUNDS: usize = 20_000;

/// Pieces of text that have broken parsers before.
const PIECES: [&str; 28] = [
    "",
    "\0",
    "\u{feff}",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
    "null",
    "1e999",
    "-0",
    "\"server\":\"cam\"",
    "\"reservation\":",
    "T",
    "Z",
    "+24:00",
    ":60",
    "infinity",
    "\u{2212}",
    "é",
    "\u{202e}",
    "99999",
    " ",
];

fn good(rng: &mut StdRng) -> Received {
    let (start, end) = window(3_600, 60);
    let id = Uuid::from_u128(rng.random());
    let command = match rng.random_range(0..6) {
        0 => Command::request("m-1", "cam", start, end),
        3 => Command::list(
            "m-1",
            rng.random_bool(0.5).then_some(20),
            rng.random_bool(0.5).then_some(id),
        ),
        4 => Command::availability("m-1", "cam", start, end),
        1 => Command::reconfirm("m-1", "cam", id),
        2 => Command::withdraw("m-1", "cam", id),
        _ => Command::show("m-1", id),
    };
    Received {
        routing_key: match &command.server {
            Some(server) => format!("t-1.{}.{server}", command.kind.as_str()),
            None => format!("t-1.{}", command.kind.as_str()),
        },
        user_id: Some("t-1".to_owned()),
        message_id: Some(command.message_id),
        kind: rng.random_bool(0.5).then(|| command.kind.as_str().to_owned()),
        content_type: Some("application/json".to_owned()),
        body: command.body,
        ..Received::default()
    }
}

fn mutate_bytes(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..=bytes.len());
    let to = rng.random_range(at..=bytes.len());
    let piece = PIECES.choose(rng).expect("some").as_bytes().to_vec();
    match rng.random_range(0..7) {
        0 => bytes.insert(at, rng.random()),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        3 => drop(bytes.splice(at..at, piece)),
        4 => drop(bytes.splice(at..to, piece)),
        5 => {
            let copied = bytes[at..to].to_vec();
            bytes.splice(at..at, copied);
        }
        _ => bytes.truncate(at),
    }
}

fn mutate_text(rng: &mut StdRng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    mutate_bytes(rng, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn mutate_option(rng: &mut StdRng, value: &mut Option<String>) {
    let text = value.take().unwrap_or_default();
    *value = rng.random_bool(0.8).then(|| mutate_text(rng, &text));
}

fn mutate(rng: &mut StdRng, received: &mut Received) {
    match rng.random_range(0..15) {
        0..=1 => received.routing_key = mutate_text(rng, &received.routing_key.clone()),
        2 => mutate_option(rng, &mut received.user_id),
        3 => mutate_option(rng, &mut received.message_id),
        4 => mutate_option(rng, &mut received.kind),
        5 => mutate_option(rng, &mut received.content_type),
        6 => mutate_option(rng, &mut received.content_encoding),
        7 => received.forbidden_properties.push("priority"),
        8 => received.header_names.push(mutate_text(rng, "x-delay")),
        9 => {
            let words: Vec<&str> = received.routing_key.split('.').collect();
            let keeps = rng.random_range(0..words.len());
            received.routing_key = words[..keeps].join(".");
        }
        10 => received.user_id = Some(WORKER.to_owned()),
        11 => received.body = retyped(rng, &received.body),
        _ => mutate_bytes(rng, &mut received.body),
    }
}

/// The body with a number in the place of a field's value.
fn retyped(rng: &mut StdRng, body: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else { return body.to_vec() };
    if let Some((_, value)) = fields.iter_mut().choose(rng) {
        *value = Value::from(7);
    }
    serde_json::to_vec(&fields).expect("JSON")
}

#[test]
fn the_decoder_takes_anything_and_lets_only_commands_through() {
    let seed = 7;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut outcomes: HashMap<&'static str, usize> = HashMap::new();
    for round in 0..ROUNDS {
        let mut received = good(&mut rng);
        for _ in 0..rng.random_range(0..4) {
            mutate(&mut rng, &mut received);
        }
        // A panic shows it together with its cause.
        let outcome = std::panic::catch_unwind(|| check(&received));
        let word = outcome.unwrap_or_else(|_| panic!("round {round} of {seed}: {received:?}"));
        *outcomes.entry(word).or_default() += 1;
    }
    // Every outcome of the decoder except these two, which no mutation of a body causes.
    for word in [
        "a step",
        "unauthenticated",
        "forbidden_terminal",
        "forbidden_header",
        "unknown_command",
        "missing_message_id",
        "invalid_message_id",
        "unsupported_content",
        "invalid_encoding",
        "invalid_json",
        "duplicate_field",
        "unknown_field",
        "missing_field",
        "invalid_type",
        "invalid_text",
        "invalid_timestamp",
        "invalid_interval",
        "inconsistent_message",
    ] {
        assert!(outcomes.contains_key(word), "{word} never came up: {outcomes:?}");
    }
}
