//! Reservations whose time is over, and what gates saw of them.

use tokio_postgres::Row;

use super::error::StoreError;
use super::pool::{Pool, Session, bounded};
use super::sql;
use crate::domain::input::Closing;
use crate::domain::usage::{Seen, Used};

/// Most reservations that one worker closes at a time: their servers are locked meanwhile.
pub const CLOSINGS_MAX: i64 = 100;

/// How long a worker has for those that it claimed; then another one tries. A transaction takes milliseconds,
/// and one that comes late finds its work done.
const LEASE_SECONDS: f64 = 15.0;

/// Claims reservations to close now; empty if there are none.
pub async fn claim(pool: &Pool) -> Result<Vec<Closing>, StoreError> {
    bounded("claiming reservations that are over", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("claim_closings")).await?;
        let rows = session.client().query(&statement, &[&CLOSINGS_MAX, &LEASE_SECONDS]).await?;
        session.finish();
        rows.iter().map(read).collect()
    })
    .await
}

fn read(row: &Row) -> Result<Closing, StoreError> {
    let used = match (row.try_get("first_at")?, row.try_get("last_at")?) {
        (Some(first_at), Some(last_at)) => {
            Some(Used { seconds: row.try_get("seconds")?, first_at, last_at })
        }
        _ => None,
    };
    let seen = Seen { watched: row.try_get("watched")?, used };
    Ok(Closing { reservation: row.try_get("id")?, seen })
}
