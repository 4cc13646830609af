//! The contract as JSON Schemas, generated from the message types.
//!
//! `schema/messages` holds one document per message, checked in; a test fails when they differ.
//! Where a text is one of a closed list of words, the list comes from the domain.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::answer::{Answer, Notice};
use super::command::{AvailabilityBody, ListBody, RequestBody, ReservationBody};
use super::event::{self, CancelledData, CloudEvent, ConfirmedData, CreditedData};
use crate::domain::refusal::{Code, Retry};
use crate::domain::reservation::{CancelReason, State};

/// File name (without `.json`) and schema of every message in the contract.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("command.request", command::<RequestBody>()),
        ("command.reconfirm", command::<ReservationBody>()),
        ("command.withdraw", command::<ReservationBody>()),
        ("command.show", command::<ReservationBody>()),
        ("command.list", command::<ListBody>()),
        ("command.availability", command::<AvailabilityBody>()),
        ("answer", output::<Answer>()),
        ("notice", output::<Notice>()),
        ("event.reservation.confirmed", event::<ConfirmedData>(event::CONFIRMED)),
        ("event.reservation.cancelled", event::<CancelledData>(event::CANCELLED)),
        ("event.reservation.credited", event::<CreditedData>(event::CREDITED)),
    ]
}

/// What terminals may send.
fn command<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

/// What Holdfast sends.
fn output<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// An event of one type.
fn event<T: JsonSchema>(kind: &str) -> Schema {
    let mut schema = output::<CloudEvent<T>>();
    if let Some(field) = schema.pointer_mut("/properties/type").and_then(|f| f.as_object_mut()) {
        field.insert("const".to_owned(), kind.into());
    }
    schema
}

fn one_of(words: Vec<&str>) -> Schema {
    json_schema!({ "type": "string", "enum": words })
}

/// The closed list of refusal codes.
pub(super) fn codes(_: &mut SchemaGenerator) -> Schema {
    one_of(Code::ALL.iter().map(|code| code.as_str()).collect())
}

/// What a sender can do after a refusal.
pub(super) fn retries(_: &mut SchemaGenerator) -> Schema {
    one_of(Retry::ALL.iter().map(|retry| retry.as_str()).collect())
}

/// States of a reservation.
pub(super) fn states(_: &mut SchemaGenerator) -> Schema {
    one_of(State::ALL.iter().map(|state| state.as_str()).collect())
}

/// Why a reservation was cancelled.
pub(super) fn cancel_reasons(_: &mut SchemaGenerator) -> Schema {
    one_of(CancelReason::ALL.iter().map(|reason| reason.as_str()).collect())
}
