//! Message types: the contract with terminals and subscribers.
//!
//! Commands are read strictly: an unknown or duplicate field is refused by name, because ignoring
//! it would ignore what its sender asked for. Output only gains fields within a major version, so
//! readers must ignore unknown ones.
//!
//! `JsonSchema` is derived unconditionally, so that ranges and closed lists stand on their fields.
//! The tests (`tests/suite/contract`) generate `schema/` from it; the service never builds a
//! schema.

mod about;
pub mod answer;
pub mod command;
pub mod dead_letter;
pub mod decode;
pub mod envelope;
pub mod event;
pub mod fence;
mod fields;
mod key;
mod pattern;
pub mod query;
pub mod shape;
pub mod wake_up;

use uuid::Uuid;

/// UUIDv5 namespace of all deterministic ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_0b6e_7a0d_4d5b_9a35_68f0_3b1c_7e42);

/// A UUIDv5: equal on every attempt, so readers can drop repeats.
pub fn deterministic_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// A closed list's words, for schemas.
fn words<T: Copy + Into<&'static str>>(all: &[T]) -> Vec<&'static str> {
    all.iter().map(|word| (*word).into()).collect()
}
