//! Messages that a worker may have crashed on.
//!
//! The broker counts deliveries for a whole prefetch window, innocent neighbours included, and also
//! when a partition changes hands in order. Here each attempt at a redelivered message is counted
//! before it is made.

use deadpool_postgres::Pool;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::sql;
use crate::domain::input::Digest;

/// How many attempts at each message ended with the worker.
pub async fn attempts(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<Vec<i32>, StoreError> {
    let fingerprints = bytes(fingerprints);
    bounded("looking up suspects", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("load_attempts")).await?;
        let rows = session.client().query(&statement, &[&partition, &fingerprints]).await?;
        session.finish();
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    })
    .await
}

/// Counts an attempt that is about to be made at each.
pub async fn count_attempt(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<(), StoreError> {
    change(pool, "counting an attempt", sql!("count_attempt"), partition, fingerprints).await
}

/// Takes an attempt at each back, which interrupted it but killed nobody.
pub async fn take_back(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<(), StoreError> {
    let statement = sql!("uncount_attempt");
    change(pool, "taking an attempt back", statement, partition, fingerprints).await
}

/// Clears messages that were processed or set aside.
pub async fn clear(pool: &Pool, partition: i32, fingerprints: &[Digest]) -> Result<(), StoreError> {
    change(pool, "clearing suspects", sql!("delete_attempts"), partition, fingerprints).await
}

async fn change(
    pool: &Pool,
    what: &'static str,
    statement: &str,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<(), StoreError> {
    let fingerprints = bytes(fingerprints);
    bounded(what, async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(statement).await?;
        session.client().execute(&statement, &[&partition, &fingerprints]).await?;
        session.finish();
        Ok(())
    })
    .await
}

fn bytes(fingerprints: &[Digest]) -> Vec<&[u8]> {
    fingerprints.iter().map(Digest::as_slice).collect()
}
