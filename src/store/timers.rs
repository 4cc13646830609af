//! Instants at which partitions need a wake-up, and the sweep that finds missing ones.

use crate::store::pool::Pool;
use deadpool_postgres::ClientWrapper;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::sql;
use crate::domain::interval::Timestamp;

/// Most unscheduled timers per sweep.
const UNSCHEDULED_MAX: i64 = 1_000;

/// How long a new timer is left to its worker.
const UNSCHEDULED_AGE_SECONDS: f64 = 3.0;

/// Until then a deadline's wake-up may be on its way.
const OVERDUE_GRACE_SECONDS: f64 = 1.0;

/// Records confirmed wake-ups: their instants and the ends of their hops.
pub async fn mark_scheduled(pool: &Pool, hops: &[Hop]) -> Result<(), StoreError> {
    bounded("marking timers as scheduled", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("mark_scheduled")).await?;
        let partitions: Vec<i32> = hops.iter().map(|hop| hop.partition).collect();
        let due: Vec<Timestamp> = hops.iter().map(|hop| hop.due_at).collect();
        let until: Vec<Timestamp> = hops.iter().map(|hop| hop.scheduled_until).collect();
        session.client().execute(&statement, &[&partitions, &due, &until]).await?;
        session.finish();
        Ok(())
    })
    .await
}

/// A confirmed wake-up.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    pub partition: i32,
    /// The instant that it leads to.
    pub due_at: Timestamp,
    /// When it ends.
    pub scheduled_until: Timestamp,
}

#[derive(Debug, Default)]
pub struct Swept {
    /// Partition and its latest overdue instant.
    pub overdue: Vec<(i32, Timestamp)>,
    /// Partition and instant without a confirmed wake-up.
    pub unscheduled: Vec<(i32, Timestamp)>,
    /// The database's clock; `None` if nothing was found.
    pub now: Option<Timestamp>,
}

/// Claims the partitions whose sweep is due and finds what the delay ladder missed.
pub async fn sweep(pool: &Pool, interval_seconds: f64) -> Result<Swept, StoreError> {
    bounded("a sweep", async {
        let session = Session::take(pool).await?;
        let swept = sweep_on(session.client(), interval_seconds).await?;
        session.finish();
        Ok(swept)
    })
    .await
}

async fn sweep_on(client: &ClientWrapper, interval_seconds: f64) -> Result<Swept, StoreError> {
    let claim = client.prepare_cached(sql!("claim_sweep")).await?;
    let rows = client.query(&claim, &[&interval_seconds]).await?;
    let claimed: Vec<i32> = rows.iter().map(|row| row.get("partition")).collect();
    let since: Vec<Timestamp> = rows.iter().map(|row| row.get("since")).collect();
    if claimed.is_empty() {
        return Ok(Swept::default());
    }
    let find_overdue = client.prepare_cached(sql!("find_overdue")).await?;
    let find_unscheduled = client.prepare_cached(sql!("find_unscheduled")).await?;
    let overdue = client.query(&find_overdue, &[&claimed, &OVERDUE_GRACE_SECONDS, &since]).await?;
    let unscheduled = client
        .query(&find_unscheduled, &[&claimed, &UNSCHEDULED_AGE_SECONDS, &UNSCHEDULED_MAX])
        .await?;
    let now = overdue.iter().chain(&unscheduled).map(|row| row.get("now")).max();
    let pairs = |rows: &[tokio_postgres::Row]| -> Vec<(i32, Timestamp)> {
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    Ok(Swept { overdue: pairs(&overdue), unscheduled: pairs(&unscheduled), now })
}
