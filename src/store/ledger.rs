//! Billing entries, for reconciliation.

use serde::Serialize;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::error::StoreError;
use crate::domain::id::UserId;
use crate::domain::interval::Timestamp;

/// A charge or a credit.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its id, which is also the id of its event.
    pub id: Uuid,
    /// `charge` or `credit`.
    pub kind: String,
    /// The reservation's id.
    pub reservation: Uuid,
    /// Of a credit: the charge that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge: Option<Uuid>,
    /// Who is billed.
    pub user: String,
    /// The server's id.
    pub server: String,
    /// Reserved time in seconds.
    pub seconds: i64,
    /// Amount in integer minor units, never negative.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// When it was decided, by the database's clock.
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

/// The entries of `[from, to)` in order of time, of one user or of all.
pub async fn load_ledger(
    client: &Client,
    from: Timestamp,
    to: Timestamp,
    user: Option<&UserId>,
) -> Result<Vec<Entry>, StoreError> {
    let rows = client
        .query(
            "select * from billing_entries
             where created_at >= $1 and created_at < $2 and ($3::text is null or user_id = $3)
             order by created_at, id",
            &[&from, &to, &user.map(UserId::as_str)],
        )
        .await?;
    Ok(rows.iter().map(read).collect())
}

/// The entries of a reservation: its charge, then its credit, if any.
pub async fn load_entries(client: &Client, reservation: Uuid) -> Result<Vec<Entry>, StoreError> {
    let statement = "select * from billing_entries where reservation_id = $1
                     order by created_at, kind";
    Ok(client.query(statement, &[&reservation]).await?.iter().map(read).collect())
}
