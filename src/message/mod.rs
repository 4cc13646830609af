//! Messages: what comes in, what goes out, and how strict each side is.
//!
//! Commands are strict: an unknown or doubled field is refused by name, since a field that is
//! silently ignored is a wish that is silently not granted. Output only ever grows within a major
//! version, so readers must ignore fields they do not know. The types here are the contract; the
//! documents under `schema/messages` are generated from them.

pub mod answer;
pub mod command;
pub mod decode;
pub mod envelope;
pub mod event;
pub mod fields;
pub mod schema;
pub mod wake_up;

use uuid::Uuid;

/// Names every deterministic id that Holdfast gives out (UUIDv5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_0b6e_7a0d_4d5b_9a35_68f0_3b1c_7e42);

/// The id of what `name` describes: the same on every attempt, so that repeats can be dropped.
pub fn deterministic_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}
