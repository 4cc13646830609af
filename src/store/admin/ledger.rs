//! Billing entries, for reconciliation.

use serde::Serialize;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::domain::id::UserId;
use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// A charge or a credit.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Also the id of its event.
    pub id: Uuid,
    pub kind: String,
    pub reservation: Uuid,
    /// The charge that a credit reverses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<Uuid>,
    pub user: String,
    pub server: String,
    /// Reserved seconds.
    pub seconds: i64,
    /// Integer minor units, never negative.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// By the database's clock.
    pub created_at: Timestamp,
}

fn read(row: &Row) -> Entry {
    Entry {
        id: row.get("id"),
        kind: row.get("kind"),
        reservation: row.get("reservation_id"),
        charge: row.get("charge_id"),
        user: row.get("user_id"),
        server: row.get("server_id"),
        seconds: row.get("seconds"),
        amount_minor: row.get("amount_minor"),
        currency: row.get("currency"),
        created_at: row.get("created_at"),
    }
}

/// Entries of `[from, to)` by time, of one user or all.
pub async fn list_entries(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
    user: Option<&UserId>,
) -> Result<Vec<Entry>, StoreError> {
    let rows = client.query(sql!("list_entries"), &[&from, &to, &user.map(UserId::as_str)]).await?;
    Ok(rows.iter().map(read).collect())
}

/// A reservation's charge and credit, if any.
pub async fn load_entries(client: &Client, reservation: Uuid) -> Result<Vec<Entry>, StoreError> {
    Ok(client.query(sql!("load_entries"), &[&reservation]).await?.iter().map(read).collect())
}
