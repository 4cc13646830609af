//! Generates the contract's JSON Schemas from the message types: one document for each message.

use holdfast::message::answer::{Answer, Notice};
use holdfast::message::command::{Kind, RequestBody, ReservationBody};
use holdfast::message::event::{
    self, CancelledData, CloudEvent, ConfirmedData, CreditedData, NoShowData, UsedData,
};
use holdfast::message::query::{AvailabilityBody, ListBody};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// File name (without `.json`) and schema of every message in the contract.
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("command.request", command::<RequestBody>()),
        ("command.reconfirm", command::<ReservationBody>()),
        ("command.withdraw", command::<ReservationBody>()),
        ("query.show", command::<ReservationBody>()),
        ("query.list", command::<ListBody>()),
        ("query.availability", command::<AvailabilityBody>()),
        ("answer", output::<Answer>()),
        ("notice", output::<Notice>()),
        ("event.reservation.confirmed", event::<ConfirmedData>(event::CONFIRMED)),
        ("event.reservation.cancelled", event::<CancelledData>(event::CANCELLED)),
        ("event.reservation.credited", event::<CreditedData>(event::CREDITED)),
        ("event.reservation.used", event::<UsedData>(event::USED)),
        ("event.reservation.no_show", event::<NoShowData>(event::NO_SHOW)),
    ]
}

/// The name of a command or query in the contract.
pub fn name_of(kind: Kind) -> String {
    let group = if kind.is_query() { "query" } else { "command" };
    format!("{group}.{}", kind.as_str())
}

/// The schema of what terminals may send.
fn command<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

/// The schema of what Holdfast sends.
fn output<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

/// The schema of an event of one type.
fn event<T: JsonSchema>(kind: &str) -> Schema {
    let mut schema = output::<CloudEvent<T>>();
    if let Some(field) = schema.pointer_mut("/properties/type").and_then(|f| f.as_object_mut()) {
        field.insert("const".to_owned(), kind.into());
    }
    schema
}
