//! What is stored about reservations and bills that others have heard of.

use tokio_postgres::Client;
use uuid::Uuid;

use super::ledger::{Entry, read};
use crate::store::error::StoreError;
use crate::store::sql;

/// What became of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The reservation.
    pub reservation: Uuid,
    /// `None`: retention has deleted the reservation, and its bill is still there.
    pub stored: Option<StoredFate>,
    /// It was confirmed and billed, whatever happened later.
    pub charged: bool,
}

/// What is stored of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFate {
    /// Who is billed.
    pub user: String,
    /// `held`, `reconfirmed`, `confirmed` or `cancelled`.
    pub state: String,
    /// It was reconfirmed, whatever happened later.
    pub reconfirmed: bool,
}

/// The entries that are there, of those with these ids.
pub async fn load_entries_by_id(client: &Client, ids: &[Uuid]) -> Result<Vec<Entry>, StoreError> {
    let rows = client.query(sql!("load_entries_by_id"), &[&ids]).await?;
    Ok(rows.iter().map(read).collect())
}

/// What became of these reservations, as far as they are known.
pub async fn load_fates(client: &Client, ids: &[Uuid]) -> Result<Vec<Fate>, StoreError> {
    let rows = client.query(sql!("load_fates"), &[&ids]).await?;
    let fates = rows.iter().map(|row| Fate {
        reservation: row.get("id"),
        stored: row.get::<_, Option<String>>("state").map(|state| StoredFate {
            user: row.get("user_id"),
            state,
            reconfirmed: row.get("reconfirmed"),
        }),
        charged: row.get("charged"),
    });
    Ok(fates.collect())
}
