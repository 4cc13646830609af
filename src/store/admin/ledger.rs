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
    /// The version of the server's tariff that was quoted: see `holdfast server history`.
    pub tariff_version: i32,
    /// By the database's clock.
    pub created_at: Timestamp,
}

pub(super) fn read(row: &Row) -> Entry {
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
        tariff_version: row.get("tariff_version"),
        created_at: row.get("created_at"),
    }
}

/// A place in the order of entries: by time, then by id.
pub type Position = (Timestamp, Uuid);

/// Before all entries of an instant: no entry has the nil id.
pub fn before(instant: Timestamp) -> Position {
    (instant, Uuid::nil())
}

/// An entry's place; `None`: unknown id.
pub async fn load_position(client: &Client, entry: Uuid) -> Result<Option<Position>, StoreError> {
    let row = client.query_opt(sql!("load_entry_time"), &[&entry]).await?;
    Ok(row.map(|row| (row.get(0), entry)))
}

/// At most `limit` entries behind `after` and before `to`, in order, of one user or all; and whether more
/// follow. Entries are never changed, so pages add up to one snapshot of what is older than the youngest
/// open transaction.
pub async fn list_entries(
    client: &Client,
    after: Position,
    to: Timestamp,
    user: Option<&UserId>,
    limit: i64,
) -> Result<(Vec<Entry>, bool), StoreError> {
    let (instant, id) = after;
    let user = user.map(UserId::as_str);
    let rows =
        client.query(sql!("list_entries"), &[&instant, &id, &to, &user, &(limit + 1)]).await?;
    let mut entries: Vec<Entry> = rows.iter().map(read).collect();
    let wanted = usize::try_from(limit).unwrap_or_default();
    let more = entries.len() > wanted;
    entries.truncate(wanted);
    Ok((entries, more))
}

/// A reservation's charge and credit, if any.
pub async fn load_entries(client: &Client, reservation: Uuid) -> Result<Vec<Entry>, StoreError> {
    Ok(client.query(sql!("load_entries"), &[&reservation]).await?.iter().map(read).collect())
}
