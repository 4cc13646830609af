//! Messages: their types, and how they are read and written.
//!
//! Commands are read strictly: an unknown or doubled field is refused by name, because silently
//! ignoring it would ignore what its sender asked for. Output only gains fields within a major
//! version, so readers must ignore fields that they do not know.
//!
//! These types are the contract. They derive `JsonSchema` here and not behind a feature: rules such
//! as ranges and closed lists of words stand on the fields that they govern. The documents under
//! `schema/` are generated from them by the tests (`tests/suite/contract`); the service itself
//! never builds a schema.

pub mod answer;
pub mod command;
pub mod decode;
pub mod envelope;
pub mod event;
mod fields;
pub mod shape;
pub mod wake_up;

use uuid::Uuid;

/// Namespace of every deterministic id that Holdfast makes (UUIDv5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_0b6e_7a0d_4d5b_9a35_68f0_3b1c_7e42);

/// The id of what `name` describes. It is the same on every attempt, so readers can drop repeats.
pub fn deterministic_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The words of a closed list, for the schema of the field that holds one.
fn words<T: Copy + Into<&'static str>>(all: &[T]) -> Vec<&'static str> {
    all.iter().map(|word| (*word).into()).collect()
}
