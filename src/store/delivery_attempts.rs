//! Counts attempts at redelivered messages, each before it is made, to find messages that crash workers.
//!
//! The broker's own count covers a whole prefetch window, and orderly takeovers too. See
//! `docs/decisions/0015-redelivery-isolation.md`.

use crate::store::pool::Pool;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::sql;
use crate::domain::input::Digest;

/// Attempts at each message that ended with the worker.
pub async fn attempts(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<Vec<i32>, StoreError> {
    let fingerprints = bytes(fingerprints);
    bounded("loading delivery attempts", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("load_attempts")).await?;
        let rows = session.client().query(&statement, &[&partition, &fingerprints]).await?;
        session.finish();
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    })
    .await
}

/// To be called before the attempt.
pub async fn count_attempt(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<(), StoreError> {
    let statement = sql!("count_attempt");
    change(pool, "counting delivery attempts", statement, partition, fingerprints).await
}

/// Uncounts failed attempts that the worker outlived.
pub async fn uncount(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<(), StoreError> {
    let statement = sql!("uncount_attempt");
    change(pool, "taking delivery attempts back", statement, partition, fingerprints).await
}

/// Clears the attempts at processed or parked messages.
pub async fn clear(pool: &Pool, partition: i32, fingerprints: &[Digest]) -> Result<(), StoreError> {
    let statement = sql!("delete_attempts");
    change(pool, "deleting delivery attempts", statement, partition, fingerprints).await
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
