//! Servers, users, terminals and the applied topology: what operators set up.

use serde::Serialize;
use tokio_postgres::Client;

use super::error::StoreError;
use crate::domain::id::{ServerId, TerminalId, UserId};
use crate::domain::server::LateBooking;
use crate::message::shape::Shape;

/// A server as an operator describes it.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Its id.
    pub id: ServerId,
    /// Simultaneous reservations.
    pub capacity: i32,
    /// Minor units per hour.
    pub rate_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
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
    /// What becomes of a request whose deadline has passed.
    pub late_booking: LateBooking,
    /// Where it is served.
    pub connection_url: String,
}

/// A line of `server list`.
#[derive(Debug, Serialize)]
pub struct ServerLine {
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
    /// Lead time in seconds.
    pub lead_seconds: i32,
    /// Live reservations that are not over.
    pub live_reservations: i64,
    /// Where it is served.
    pub connection_url: String,
}

/// Adds a server. `false` if there is one of that id.
pub async fn insert_server(client: &Client, server: &NewServer) -> Result<bool, StoreError> {
    let inserted = client
        .execute(
            "insert into servers (id, capacity, rate_minor, currency, slot_seconds, min_seconds,
                 max_seconds, gap_seconds, lead_seconds, horizon_seconds, late_booking, connection_url,
                 reminder_seconds)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
             on conflict (id) do nothing",
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
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Every server, by id.
pub async fn load_servers(client: &Client) -> Result<Vec<ServerLine>, StoreError> {
    let rows = client
        .query(
            "select s.id, s.open, s.capacity, s.rate_minor, s.currency, s.lead_seconds, s.connection_url,
                 (select count(*) from reservations r where r.server_id = s.id
                      and r.state <> 'cancelled' and r.end_at > clock_timestamp()) as live_reservations
             from servers s order by s.id",
            &[],
        )
        .await?;
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
            connection_url: row.get("connection_url"),
        })
        .collect())
}

/// Changes a server's capacity. The database refuses (`ZR001`, detail: reservation ids) to go
/// below what is booked (R3). `false` if there is no such server.
pub async fn update_capacity(
    client: &Client,
    server: &ServerId,
    capacity: i32,
) -> Result<bool, StoreError> {
    let statement = "update servers set capacity = $2 where id = $1";
    Ok(client.execute(statement, &[&server.as_str(), &capacity]).await? == 1)
}

/// Adds a user; `None` means the policy's default. `false` if there is one of that id.
pub async fn insert_user(
    client: &Client,
    user: &UserId,
    quota_seconds: Option<i64>,
    holds_max: Option<i32>,
) -> Result<bool, StoreError> {
    let statement = "insert into users (id, quota_seconds, holds_max) values ($1, $2, $3)
                     on conflict (id) do nothing";
    Ok(client.execute(statement, &[&user.as_str(), &quota_seconds, &holds_max]).await? == 1)
}

/// How adding a terminal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalAdded {
    /// It is new.
    New,
    /// The same user has it already.
    Exists,
    /// Another user has it.
    Taken,
    /// There is no such user.
    UnknownUser,
}

/// Adds a terminal to a user.
pub async fn insert_terminal(
    client: &Client,
    terminal: &TerminalId,
    user: &UserId,
) -> Result<TerminalAdded, StoreError> {
    let known = client.query_opt("select 1 from users where id = $1", &[&user.as_str()]).await?;
    if known.is_none() {
        return Ok(TerminalAdded::UnknownUser);
    }
    let statement =
        "insert into terminals (id, user_id) values ($1, $2) on conflict (id) do nothing";
    if client.execute(statement, &[&terminal.as_str(), &user.as_str()]).await? == 1 {
        return Ok(TerminalAdded::New);
    }
    let owner: String = client
        .query_one("select user_id from terminals where id = $1", &[&terminal.as_str()])
        .await?
        .get(0);
    Ok(if owner == user.as_str() { TerminalAdded::Exists } else { TerminalAdded::Taken })
}

/// Whether a terminal of that id is registered.
pub async fn terminal_exists(client: &Client, id: &str) -> Result<bool, StoreError> {
    Ok(client.query_opt("select 1 from terminals where id = $1", &[&id]).await?.is_some())
}

/// Reads the topology that was applied, if one was.
pub async fn load_topology(client: &Client) -> Result<Option<Shape>, StoreError> {
    let row = client.query_opt("select partitions, delay_levels from topology", &[]).await?;
    Ok(row.map(|row| Shape {
        partitions: row.get(0),
        // The table's check keeps it between 1 and 24.
        delay_levels: row.get::<_, i32>(1).unsigned_abs(),
    }))
}

/// Records the topology. The first one stays: whatever is recorded is returned.
pub async fn insert_topology(client: &Client, shape: Shape) -> Result<Shape, StoreError> {
    // Past the largest `integer`, the table's check refuses it all the same.
    let delay_levels = i32::try_from(shape.delay_levels).unwrap_or(i32::MAX);
    client
        .execute(
            "insert into topology (partitions, delay_levels) values ($1, $2) on conflict do nothing",
            &[&shape.partitions, &delay_levels],
        )
        .await?;
    Ok(load_topology(client).await?.unwrap_or(shape))
}
