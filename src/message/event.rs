//! Events to subscribers, as CloudEvents 1.0 in structured mode.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{deterministic_id, words};
use crate::domain::interval::Timestamp;
use crate::domain::reservation::{CancelReason, Reservation};
use crate::domain::usage::Used;

/// The events' content type.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

const SOURCE: &str = "/holdfast";

/// A CloudEvents 1.0 envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent<T> {
    /// Always `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// Unique per event and the same on every delivery; of a billing event, its billing entry's id.
    pub id: Uuid,
    /// Always `/holdfast`.
    #[schemars(extend("const" = SOURCE))]
    pub source: String,
    /// `reservation.confirmed`, `reservation.cancelled`, `reservation.credited`, `reservation.used` or
    /// `reservation.no_show`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reservation's id.
    pub subject: Uuid,
    /// When it happened, by the database's clock.
    pub time: Timestamp,
    /// Always `application/json`.
    #[schemars(extend("const" = "application/json"))]
    pub datacontenttype: String,
    /// What happened.
    pub data: T,
}

/// Data of `reservation.confirmed`: one charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmedData {
    /// The reservation's id.
    pub reservation: Uuid,
    /// Who is billed.
    pub user: String,
    /// The terminal that reserved.
    pub terminal: String,
    /// The server's id.
    pub server: String,
    /// Reserved time, in `unit`s.
    pub quantity: i64,
    /// Always `second`.
    #[schemars(extend("const" = "second"))]
    pub unit: String,
    /// Amount in integer minor units.
    #[schemars(range(min = 0))]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// First instant of the reserved time.
    pub period_start: Timestamp,
    /// First instant after the reserved time.
    pub period_end: Timestamp,
    /// When it was confirmed.
    pub confirmed_at: Timestamp,
    /// The message id of the request.
    pub request_id: String,
    /// The tariff version that was quoted.
    pub tariff_version: i32,
}

/// Data of `reservation.credited`: the full amount of one charge, taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreditedData {
    /// The reservation's id.
    pub reservation: Uuid,
    /// The id of the charge that is taken back, which is also the id of its event.
    pub charge: Uuid,
    /// Who was billed.
    pub user: String,
    /// The terminal that reserved.
    pub terminal: String,
    /// The server's id.
    pub server: String,
    /// Reserved time, in `unit`s.
    pub quantity: i64,
    /// Always `second`.
    #[schemars(extend("const" = "second"))]
    pub unit: String,
    /// Amount in integer minor units; positive, and the same as the charge's.
    #[schemars(range(min = 0))]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// First instant of the time that was reserved.
    pub period_start: Timestamp,
    /// First instant after it.
    pub period_end: Timestamp,
    /// When it was credited.
    pub credited_at: Timestamp,
    /// The message id of the request.
    pub request_id: String,
    /// The tariff version that was quoted.
    pub tariff_version: i32,
    /// Why, in the operator's words.
    pub note: String,
}

/// Data of `reservation.cancelled`: no charge; if there was one, a credit has an event of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelledData {
    /// The reservation's id.
    pub reservation: Uuid,
    /// Whose it was.
    pub user: String,
    /// The terminal that reserved.
    pub terminal: String,
    /// The server's id.
    pub server: String,
    /// `not_reconfirmed`, `withdrawn` or `operator`.
    #[schemars(extend("enum" = words(CancelReason::ALL)))]
    pub reason: String,
    /// First instant of the time that is free again.
    pub period_start: Timestamp,
    /// First instant after it.
    pub period_end: Timestamp,
    /// When it was cancelled.
    pub cancelled_at: Timestamp,
    /// The message id of the request.
    pub request_id: String,
}

/// Data of `reservation.used`: how the time of a confirmed reservation was used. Informative: what is billed
/// is the reserved time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsedData {
    /// The reservation's id.
    pub reservation: Uuid,
    /// The id of its charge.
    pub charge: Uuid,
    /// Whose it was.
    pub user: String,
    /// The terminal that reserved.
    pub terminal: String,
    /// The server's id.
    pub server: String,
    /// Time in which it published, within the reserved time, in `unit`s.
    pub quantity: i64,
    /// Always `second`.
    #[schemars(extend("const" = "second"))]
    pub unit: String,
    /// When it was first seen; before the start, if it was admitted early.
    pub first_at: Timestamp,
    /// When it was last seen.
    pub last_at: Timestamp,
    /// First instant of the reserved time.
    pub period_start: Timestamp,
    /// First instant after the reserved time.
    pub period_end: Timestamp,
    /// The message id of the request.
    pub request_id: String,
}

/// Data of `reservation.no_show`: gates watched all of a confirmed reservation's time, and nobody came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoShowData {
    /// The reservation's id.
    pub reservation: Uuid,
    /// The id of its charge.
    pub charge: Uuid,
    /// Whose it was.
    pub user: String,
    /// The terminal that reserved.
    pub terminal: String,
    /// The server's id.
    pub server: String,
    /// First instant of the reserved time.
    pub period_start: Timestamp,
    /// First instant after the reserved time.
    pub period_end: Timestamp,
    /// The message id of the request.
    pub request_id: String,
}

/// The `type` of a confirmation.
pub const CONFIRMED: &str = "reservation.confirmed";
/// The `type` of a cancellation.
pub const CANCELLED: &str = "reservation.cancelled";

/// The `type` of a credit.
pub const CREDITED: &str = "reservation.credited";

/// The `type` of a recorded use.
pub const USED: &str = "reservation.used";

/// The `type` of a recorded absence.
pub const NO_SHOW: &str = "reservation.no_show";

/// The id of a credit and its event.
pub fn credit_id(reservation: Uuid) -> Uuid {
    deterministic_id(&format!("credit/{reservation}"))
}

/// The id of a charge and its event.
pub fn charge_id(reservation: Uuid) -> Uuid {
    deterministic_id(&format!("charge/{reservation}"))
}

/// A confirmation at `at`.
pub fn confirmed(reservation: &Reservation, at: Timestamp) -> CloudEvent<ConfirmedData> {
    let data = ConfirmedData {
        reservation: reservation.id,
        user: reservation.user.to_string(),
        terminal: reservation.terminal.to_string(),
        server: reservation.server.to_string(),
        quantity: reservation.interval.seconds(),
        unit: "second".to_owned(),
        amount_minor: reservation.price_minor,
        currency: reservation.currency.clone(),
        period_start: reservation.interval.start,
        period_end: reservation.interval.end,
        confirmed_at: at,
        request_id: reservation.message_id.clone(),
        tariff_version: reservation.tariff_version,
    };
    envelope(charge_id(reservation.id), CONFIRMED, reservation.id, at, data)
}

/// A credit at `at`.
pub fn credited(reservation: &Reservation, note: &str, at: Timestamp) -> CloudEvent<CreditedData> {
    let data = CreditedData {
        reservation: reservation.id,
        charge: charge_id(reservation.id),
        user: reservation.user.to_string(),
        terminal: reservation.terminal.to_string(),
        server: reservation.server.to_string(),
        quantity: reservation.interval.seconds(),
        unit: "second".to_owned(),
        amount_minor: reservation.price_minor,
        currency: reservation.currency.clone(),
        period_start: reservation.interval.start,
        period_end: reservation.interval.end,
        credited_at: at,
        request_id: reservation.message_id.clone(),
        tariff_version: reservation.tariff_version,
        note: note.to_owned(),
    };
    envelope(credit_id(reservation.id), CREDITED, reservation.id, at, data)
}

/// A cancellation at `at`.
pub fn cancelled(reservation: &Reservation, at: Timestamp) -> CloudEvent<CancelledData> {
    let reason = reservation.cancel_reason.map_or("", |reason| reason.as_str());
    let data = CancelledData {
        reservation: reservation.id,
        user: reservation.user.to_string(),
        terminal: reservation.terminal.to_string(),
        server: reservation.server.to_string(),
        reason: reason.to_owned(),
        period_start: reservation.interval.start,
        period_end: reservation.interval.end,
        cancelled_at: at,
        request_id: reservation.message_id.clone(),
    };
    let id = deterministic_id(&format!("cancelled/{}", reservation.id));
    envelope(id, CANCELLED, reservation.id, at, data)
}

/// A use, recorded at `at`.
pub fn used(reservation: &Reservation, used: Used, at: Timestamp) -> CloudEvent<UsedData> {
    let data = UsedData {
        reservation: reservation.id,
        charge: charge_id(reservation.id),
        user: reservation.user.to_string(),
        terminal: reservation.terminal.to_string(),
        server: reservation.server.to_string(),
        quantity: used.seconds,
        unit: "second".to_owned(),
        first_at: used.first_at,
        last_at: used.last_at,
        period_start: reservation.interval.start,
        period_end: reservation.interval.end,
        request_id: reservation.message_id.clone(),
    };
    let id = deterministic_id(&format!("used/{}", reservation.id));
    envelope(id, USED, reservation.id, at, data)
}

/// An absence, recorded at `at`.
pub fn no_show(reservation: &Reservation, at: Timestamp) -> CloudEvent<NoShowData> {
    let data = NoShowData {
        reservation: reservation.id,
        charge: charge_id(reservation.id),
        user: reservation.user.to_string(),
        terminal: reservation.terminal.to_string(),
        server: reservation.server.to_string(),
        period_start: reservation.interval.start,
        period_end: reservation.interval.end,
        request_id: reservation.message_id.clone(),
    };
    let id = deterministic_id(&format!("no_show/{}", reservation.id));
    envelope(id, NO_SHOW, reservation.id, at, data)
}

fn envelope<T>(id: Uuid, kind: &str, subject: Uuid, at: Timestamp, data: T) -> CloudEvent<T> {
    CloudEvent {
        specversion: "1.0".to_owned(),
        id,
        source: SOURCE.to_owned(),
        kind: kind.to_owned(),
        subject,
        time: at,
        datacontenttype: "application/json".to_owned(),
        data,
    }
}
