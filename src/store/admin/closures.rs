//! Closures: windows in which a server takes no new reservations.

use serde::Serialize;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::domain::id::ServerId;
use crate::domain::interval::{Interval, Timestamp};
use crate::store::error::StoreError;
use crate::store::sql;

#[derive(Debug, Serialize)]
pub struct Closure {
    /// Unique across all servers.
    pub id: i64,
    pub server: String,
    /// First instant inside.
    pub start_at: Timestamp,
    /// First instant after.
    pub end_at: Timestamp,
    pub reason: String,
}

/// A live reservation that a closure touches.
#[derive(Debug, Serialize)]
pub struct Touched {
    pub id: Uuid,
    pub user: String,
    /// `held`, `reconfirmed` or `confirmed`.
    pub state: String,
    pub start_at: Timestamp,
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

/// Returns the closure and the live reservations that it touches, by start; they remain. `None`: unknown
/// server.
pub async fn insert_closure(
    client: &mut Client,
    server: &ServerId,
    interval: Interval,
    reason: &str,
) -> Result<Option<(Closure, Vec<Touched>)>, StoreError> {
    let transaction = client.transaction().await?;
    // Waits for decisions that have begun, so that the list includes their reservations.
    let locked = transaction.query_opt(sql!("lock_server"), &[&server.as_str()]).await?;
    if locked.is_none() {
        return Ok(None);
    }
    let closure = transaction
        .query_one(
            sql!("insert_closure"),
            &[&server.as_str(), &interval.start, &interval.end, &reason],
        )
        .await?;
    let touched = transaction
        .query(
            sql!("load_touched_reservations"),
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

/// By start, of one server or all; past ones only if `past`.
pub async fn list_closures(
    client: &Client,
    server: Option<&ServerId>,
    past: bool,
) -> Result<Vec<Closure>, StoreError> {
    let rows = client.query(sql!("list_closures"), &[&server.map(ServerId::as_str), &past]).await?;
    Ok(rows.iter().map(read).collect())
}

/// `None`: unknown id.
pub async fn delete_closure(client: &Client, id: i64) -> Result<Option<Closure>, StoreError> {
    let row = client.query_opt(sql!("delete_closure"), &[&id]).await?;
    Ok(row.as_ref().map(read))
}
