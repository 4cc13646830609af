//! Servers in full, and changes to them.

use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::closures::{self, Closure};
use super::error::StoreError;
use crate::domain::id::ServerId;
use crate::domain::server::LateBooking;

/// A server with all that is set for it.
#[derive(Debug, Serialize)]
pub struct ServerDetails {
    /// Its id.
    pub id: String,
    /// Whether it takes requests.
    pub open: bool,
    /// Simultaneous reservations.
    pub capacity: i32,
    /// Minor units per hour.
    pub rate_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Rises by one with each change of rate or currency.
    pub tariff_version: i32,
    /// Slot grid.
    pub slot_seconds: i32,
    /// Shortest reservation.
    pub min_seconds: i32,
    /// Longest reservation.
    pub max_seconds: i32,
    /// Turn-around.
    pub gap_seconds: i32,
    /// Lead time.
    pub lead_seconds: i32,
    /// How long before the deadline a hold's terminal is reminded; 0 = never.
    pub reminder_seconds: i32,
    /// How far ahead.
    pub horizon_seconds: i32,
    /// `reject` or `confirm`.
    pub late_booking: String,
    /// Where it is served.
    pub connection_url: String,
    /// The partition of its commands; `None` before its first reservation.
    pub partition: Option<i32>,
    /// Live reservations that are not over.
    pub live_reservations: i64,
    /// Closures that are not over, by start.
    pub closures: Vec<Closure>,
}

/// What to change in a server; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct ServerChange {
    /// See [`ServerDetails::capacity`].
    pub capacity: Option<i32>,
    /// See [`ServerDetails::rate_minor`].
    pub rate_minor: Option<i64>,
    /// See [`ServerDetails::currency`].
    pub currency: Option<String>,
    /// See [`ServerDetails::slot_seconds`].
    pub slot_seconds: Option<i32>,
    /// See [`ServerDetails::min_seconds`].
    pub min_seconds: Option<i32>,
    /// See [`ServerDetails::max_seconds`].
    pub max_seconds: Option<i32>,
    /// See [`ServerDetails::gap_seconds`].
    pub gap_seconds: Option<i32>,
    /// See [`ServerDetails::lead_seconds`].
    pub lead_seconds: Option<i32>,
    /// See [`ServerDetails::reminder_seconds`].
    pub reminder_seconds: Option<i32>,
    /// See [`ServerDetails::horizon_seconds`].
    pub horizon_seconds: Option<i32>,
    /// See [`ServerDetails::late_booking`].
    pub late_booking: Option<LateBooking>,
    /// See [`ServerDetails::connection_url`].
    pub connection_url: Option<String>,
}

/// A server and its closures ahead; `None` if there is no such server.
pub async fn load_server(
    client: &Client,
    server: &ServerId,
) -> Result<Option<ServerDetails>, StoreError> {
    let row = client
        .query_opt(
            "select s.*, (select count(*) from reservations r where r.server_id = s.id
                 and r.state <> 'cancelled' and r.end_at > clock_timestamp()) as live_reservations
             from servers s where s.id = $1",
            &[&server.as_str()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(read(&row, closures::load_closures(client, Some(server), false).await?)))
}

fn read(row: &Row, closures: Vec<Closure>) -> ServerDetails {
    ServerDetails {
        id: row.get("id"),
        open: row.get("open"),
        capacity: row.get("capacity"),
        rate_minor: row.get("rate_minor"),
        currency: row.get("currency"),
        tariff_version: row.get("tariff_version"),
        slot_seconds: row.get("slot_seconds"),
        min_seconds: row.get("min_seconds"),
        max_seconds: row.get("max_seconds"),
        gap_seconds: row.get("gap_seconds"),
        lead_seconds: row.get("lead_seconds"),
        reminder_seconds: row.get("reminder_seconds"),
        horizon_seconds: row.get("horizon_seconds"),
        late_booking: row.get("late_booking"),
        connection_url: row.get("connection_url"),
        partition: row.get("partition"),
        live_reservations: row.get("live_reservations"),
        closures,
    }
}

/// Changes a server and returns its tariff version then; `None` if there is no such server.
///
/// The database refuses a capacity below what is booked (`ZR001`, detail: reservation ids) (R3), and
/// a shortest reservation that is longer than the longest (a violated CHECK).
pub async fn update_server(
    client: &Client,
    server: &ServerId,
    change: &ServerChange,
) -> Result<Option<i32>, StoreError> {
    let row = client
        .query_opt(
            "update servers set capacity = coalesce($2, capacity),
                 rate_minor = coalesce($3, rate_minor), currency = coalesce($4, currency),
                 slot_seconds = coalesce($5, slot_seconds), min_seconds = coalesce($6, min_seconds),
                 max_seconds = coalesce($7, max_seconds), gap_seconds = coalesce($8, gap_seconds),
                 lead_seconds = coalesce($9, lead_seconds),
                 horizon_seconds = coalesce($10, horizon_seconds),
                 late_booking = coalesce($11, late_booking),
                 connection_url = coalesce($12, connection_url),
                 reminder_seconds = coalesce($13, reminder_seconds)
             where id = $1 returning tariff_version",
            &[
                &server.as_str(),
                &change.capacity,
                &change.rate_minor,
                &change.currency,
                &change.slot_seconds,
                &change.min_seconds,
                &change.max_seconds,
                &change.gap_seconds,
                &change.lead_seconds,
                &change.horizon_seconds,
                &change.late_booking.map(LateBooking::as_str),
                &change.connection_url,
                &change.reminder_seconds,
            ],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Closes or opens a server. Waits for the decisions in hand; those after it see it. `false` if
/// there is no such server.
pub async fn update_open(
    client: &Client,
    server: &ServerId,
    open: bool,
) -> Result<bool, StoreError> {
    let statement = "update servers set open = $2 where id = $1";
    Ok(client.execute(statement, &[&server.as_str(), &open]).await? == 1)
}
