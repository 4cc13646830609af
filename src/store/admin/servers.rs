//! Servers.

use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row};

use super::closures::{self, Closure};
use crate::domain::id::ServerId;
use crate::domain::server::LateBooking;
use crate::store::error::StoreError;
use crate::store::sql;

/// A server to add.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Id.
    pub id: ServerId,
    /// Simultaneous reservations.
    pub capacity: i32,
    /// See [`ServerDetails::rate_minor`].
    pub rate_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// See [`ServerDetails::slot_seconds`].
    pub slot_seconds: i32,
    /// See [`ServerDetails::min_seconds`].
    pub min_seconds: i32,
    /// See [`ServerDetails::max_seconds`].
    pub max_seconds: i32,
    /// See [`ServerDetails::gap_seconds`].
    pub gap_seconds: i32,
    /// See [`ServerDetails::lead_seconds`].
    pub lead_seconds: i32,
    /// See [`ServerDetails::reminder_seconds`].
    pub reminder_seconds: i32,
    /// See [`ServerDetails::horizon_seconds`].
    pub horizon_seconds: i32,
    /// See [`ServerDetails::late_booking`].
    pub late_booking: LateBooking,
    /// See [`ServerDetails::connection_url`].
    pub connection_url: String,
    /// See [`ServerDetails::view_url`].
    pub view_url: Option<String>,
    /// See [`ServerDetails::viewers_max`].
    pub viewers_max: Option<i32>,
    /// See [`ServerDetails::early_seconds`].
    pub early_seconds: i32,
    /// `None`: the one with the fewest servers.
    pub partition: Option<i32>,
}

/// A line of `server list`.
#[derive(Debug, Serialize)]
pub struct ServerLine {
    /// Id.
    pub id: String,
    /// Whether it takes requests.
    pub open: bool,
    /// Simultaneous reservations.
    pub capacity: i32,
    /// See [`ServerDetails::rate_minor`].
    pub rate_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// See [`ServerDetails::lead_seconds`].
    pub lead_seconds: i32,
    /// See [`ServerDetails::live_reservations`].
    pub live_reservations: i64,
    /// See [`ServerDetails::partition`].
    pub partition: i32,
    /// See [`ServerDetails::connection_url`].
    pub connection_url: String,
    /// See [`ServerDetails::view_url`].
    pub view_url: Option<String>,
    /// See [`ServerDetails::viewers_max`].
    pub viewers_max: Option<i32>,
    /// See [`ServerDetails::early_seconds`].
    pub early_seconds: i32,
}

/// A server with all its settings.
#[derive(Debug, Serialize)]
pub struct ServerDetails {
    /// Id.
    pub id: String,
    /// Whether it takes requests.
    pub open: bool,
    /// Simultaneous reservations.
    pub capacity: i32,
    /// Minor units per hour.
    pub rate_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Counts changes of rate or currency.
    pub tariff_version: i32,
    /// Starts and ends are multiples of this.
    pub slot_seconds: i32,
    /// Shortest reservation.
    pub min_seconds: i32,
    /// Longest reservation.
    pub max_seconds: i32,
    /// Busy time after each reservation.
    pub gap_seconds: i32,
    /// From deadline to start.
    pub lead_seconds: i32,
    /// From reminder to deadline; 0: no reminder.
    pub reminder_seconds: i32,
    /// How far ahead a reservation may start.
    pub horizon_seconds: i32,
    /// Requests between deadline and start: `reject` or `confirm`.
    pub late_booking: String,
    /// Connection data for confirmed reservations, with `{key}` and `{reservation}` to be filled in.
    pub connection_url: String,
    /// Where others watch, with `{reservation}` to be filled in.
    pub view_url: Option<String>,
    /// Most viewers of a reservation at a time; `None`: no limit.
    pub viewers_max: Option<i32>,
    /// How long before its start a reservation is admitted.
    pub early_seconds: i32,
    /// The partition of its commands.
    pub partition: i32,
    /// The partition that it is on its way to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving_to: Option<i32>,
    /// Live reservations that are not over.
    pub live_reservations: i64,
    /// Current and future closures, by start.
    pub closures: Vec<Closure>,
}

/// Changes to a server; `None` leaves a setting as is.
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
    /// See [`ServerDetails::view_url`]. Empty: none.
    pub view_url: Option<String>,
    /// See [`ServerDetails::viewers_max`]. 0: no limit.
    pub viewers_max: Option<i32>,
    /// See [`ServerDetails::early_seconds`].
    pub early_seconds: Option<i32>,
}

/// Adds a server and returns its partition; `None` if there is one of that id.
pub async fn insert_server(
    client: &impl GenericClient,
    server: &NewServer,
) -> Result<Option<i32>, StoreError> {
    let inserted = client
        .query_opt(
            sql!("insert_server"),
            &[
                &server.id.as_str(),
                &server.capacity,
                &server.rate_minor,
                &server.currency,
                &server.slot_seconds,
                &server.min_seconds,
                &server.max_seconds,
                &server.gap_seconds,
                &server.lead_seconds,
                &server.horizon_seconds,
                &server.late_booking.as_str(),
                &server.connection_url,
                &server.reminder_seconds,
                &server.partition,
                &server.view_url,
                &server.viewers_max,
                &server.early_seconds,
            ],
        )
        .await?;
    Ok(inserted.map(|row| row.get(0)))
}

/// All servers, by id.
pub async fn list_servers(client: &Client) -> Result<Vec<ServerLine>, StoreError> {
    let rows = client.query(sql!("list_servers"), &[]).await?;
    Ok(rows
        .iter()
        .map(|row| ServerLine {
            id: row.get("id"),
            open: row.get("open"),
            capacity: row.get("capacity"),
            rate_minor: row.get("rate_minor"),
            currency: row.get("currency"),
            lead_seconds: row.get("lead_seconds"),
            live_reservations: row.get("live_reservations"),
            partition: row.get("partition"),
            connection_url: row.get("connection_url"),
            view_url: row.get("view_url"),
            viewers_max: row.get("viewers_max"),
            early_seconds: row.get("early_seconds"),
        })
        .collect())
}

/// The first server that takes requests, by id.
pub async fn load_open_server(client: &Client) -> Result<Option<String>, StoreError> {
    let row = client.query_opt(sql!("load_open_server"), &[]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// With current and future closures; `None`: unknown server.
pub async fn load_server(
    client: &Client,
    server: &ServerId,
) -> Result<Option<ServerDetails>, StoreError> {
    let row = client.query_opt(sql!("load_server"), &[&server.as_str()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(read(&row, closures::list_closures(client, Some(server), false).await?)))
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
        view_url: row.get("view_url"),
        viewers_max: row.get("viewers_max"),
        early_seconds: row.get("early_seconds"),
        partition: row.get("partition"),
        moving_to: row.get("moving_to"),
        live_reservations: row.get("live_reservations"),
        closures,
    }
}

/// Returns the tariff version; `None`: unknown server.
///
/// The database refuses a capacity below what is booked (`ZR001`, detail: reservation ids), and
/// `min_seconds` above `max_seconds` (a CHECK).
pub async fn update_server(
    client: &Client,
    server: &ServerId,
    change: &ServerChange,
) -> Result<Option<i32>, StoreError> {
    let row = client
        .query_opt(
            sql!("update_server"),
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
                &change.view_url,
                &change.viewers_max,
                &change.early_seconds,
            ],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Waits for decisions that have begun; later ones see the change. `false`: unknown server.
pub async fn update_open(
    client: &Client,
    server: &ServerId,
    open: bool,
) -> Result<bool, StoreError> {
    Ok(client.execute(sql!("update_open"), &[&server.as_str(), &open]).await? == 1)
}

/// Counts a server's reservations that are not settled.
pub async fn count_unsettled(client: &Client, server: &ServerId) -> Result<i64, StoreError> {
    Ok(client.query_one(sql!("count_unsettled"), &[&server.as_str()]).await?.get(0))
}
