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
    /// Its id, which is also the id of its event.
    pub id: Uuid,
    /// `charge` or `credit`.
    pub kind: String,
    /// The reservation's id.
    pub reservation: Uuid,
    /// Of a credit: the charge that it reverses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<Uuid>,
    /// The billed user's id.
    pub user: String,
    /// The server's id.
    pub server: String,
    /// Reserved time in seconds.
    pub seconds: i64,
    /// Amount in integer minor units, never negative.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Time of decision, by the database's clock.
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

/// Returns the entries of `[from, to)` in order of time, of one user or of all.
pub async fn list_entries(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
    user: Option<&UserId>,
) -> Result<Vec<Entry>, StoreError> {
    let rows = client.query(sql!("list_entries"), &[&from, &to, &user.map(UserId::as_str)]).await?;
    Ok(rows.iter().map(read).collect())
}

/// Returns the charge and the credit of a reservation, as far as there are any.
pub async fn load_entries(client: &Client, reservation: Uuid) -> Result<Vec<Entry>, StoreError> {
    Ok(client.query(sql!("load_entries"), &[&reservation]).await?.iter().map(read).collect())
}
