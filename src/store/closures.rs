//! Closures: maintenance windows in which a server takes no new reservations.

use serde::Serialize;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::error::StoreError;
use crate::domain::id::ServerId;
use crate::domain::interval::{Interval, Timestamp};

/// A maintenance window.
#[derive(Debug, Serialize)]
pub struct Closure {
    /// Its number, unique over all servers.
    pub id: i64,
    /// The server's id.
    pub server: String,
    /// First instant inside.
    pub start_at: Timestamp,
    /// First instant after.
    pub end_at: Timestamp,
    /// For people.
    pub reason: String,
}

/// A live reservation that a closure touches.
#[derive(Debug, Serialize)]
pub struct Touched {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user: String,
    /// `held`, `reconfirmed` or `confirmed`.
    pub state: String,
    /// First instant of the reserved time.
    pub start_at: Timestamp,
    /// First instant after it.
    pub end_at: Timestamp,
}

fn read(row: &Row) -> Closure {
    Closure {
        id: row.get("id"),
        server: row.get("server_id"),
        start_at: row.get("start_at"),
        end_at: row.get("end_at"),
        reason: row.get("reason"),
    }
}

/// Adds a closure and returns it with the live reservations that it touches, by start. They stay.
/// `None` if there is no such server.
pub async fn insert_closure(
    client: &mut Client,
    server: &ServerId,
    interval: Interval,
    reason: &str,
) -> Result<Option<(Closure, Vec<Touched>)>, StoreError> {
    let transaction = client.transaction().await?;
    // Like every decision about the server, so that none in hand goes past the list below.
    let locked = transaction
        .query_opt("select 1 from servers where id = $1 for no key update", &[&server.as_str()])
        .await?;
    if locked.is_none() {
        return Ok(None);
    }
    let closure = transaction
        .query_one(
            "insert into closures (server_id, start_at, end_at, reason) values ($1, $2, $3, $4)
             returning *",
            &[&server.as_str(), &interval.start, &interval.end, &reason],
        )
        .await?;
    let touched = transaction
        .query(
            "select id, user_id, state, start_at, end_at from reservations
             where server_id = $1 and state <> 'cancelled' and start_at < $3 and end_at > $2
             order by start_at, id",
            &[&server.as_str(), &interval.start, &interval.end],
        )
        .await?;
    transaction.commit().await?;
    let touched = touched.iter().map(|row| Touched {
        id: row.get("id"),
        user: row.get("user_id"),
        state: row.get("state"),
        start_at: row.get("start_at"),
        end_at: row.get("end_at"),
    });
    Ok(Some((read(&closure), touched.collect())))
}

/// Closures by start, of one server or of all; those that are over only if `past`.
pub async fn load_closures(
    client: &Client,
    server: Option<&ServerId>,
    past: bool,
) -> Result<Vec<Closure>, StoreError> {
    let rows = client
        .query(
            "select * from closures
             where ($1::text is null or server_id = $1) and ($2 or end_at > clock_timestamp())
             order by start_at, id",
            &[&server.map(ServerId::as_str), &past],
        )
        .await?;
    Ok(rows.iter().map(read).collect())
}

/// Removes a closure and returns what it was; `None` if there is no such closure.
pub async fn delete_closure(client: &Client, id: i64) -> Result<Option<Closure>, StoreError> {
    let row = client.query_opt("delete from closures where id = $1 returning *", &[&id]).await?;
    Ok(row.as_ref().map(read))
}
