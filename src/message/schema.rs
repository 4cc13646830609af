//! The contract as JSON Schemas, generated from the message types.
//!
//! `schema/messages` holds one document per message, checked in; a test fails when they differ.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::answer::{Answer, Notice};
use super::command::{RequestBody, ReservationBody};
use super::event::{CancelledData, CloudEvent, ConfirmedData};

/// File name (without `.json`) and schema of every message in the contract.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("command.request", schema::<RequestBody>()),
        ("command.reconfirm", schema::<ReservationBody>()),
        ("command.withdraw", schema::<ReservationBody>()),
        ("command.show", schema::<ReservationBody>()),
        ("answer", schema::<Answer>()),
        ("notice", schema::<Notice>()),
        ("event.reservation.confirmed", schema::<CloudEvent<ConfirmedData>>()),
        ("event.reservation.cancelled", schema::<CloudEvent<CancelledData>>()),
    ]
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}
