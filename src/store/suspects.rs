//! Messages that a worker may have crashed on.
//!
//! The broker counts deliveries for a whole prefetch window, innocent neighbours included, and also
//! when a partition changes hands in order. Here each attempt at a redelivered message is counted
//! before it is made.

use deadpool_postgres::Pool;

use super::error::StoreError;
use super::sql;
use crate::domain::world::Digest;

/// How many attempts at each message did not end well.
pub async fn attempts(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<Vec<i32>, StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql!("load_suspects")).await?;
    let fingerprints: Vec<&[u8]> = fingerprints.iter().map(Digest::as_slice).collect();
    let rows = client.query(&statement, &[&partition, &fingerprints]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Counts an attempt that is about to be made at each.
pub async fn count_attempt(
    pool: &Pool,
    partition: i32,
    fingerprints: &[Digest],
) -> Result<(), StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql!("count_attempt")).await?;
    let fingerprints: Vec<&[u8]> = fingerprints.iter().map(Digest::as_slice).collect();
    client.execute(&statement, &[&partition, &fingerprints]).await?;
    Ok(())
}

/// Clears messages that were processed or set aside.
pub async fn clear(pool: &Pool, partition: i32, fingerprints: &[Digest]) -> Result<(), StoreError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql!("clear_suspects")).await?;
    let fingerprints: Vec<&[u8]> = fingerprints.iter().map(Digest::as_slice).collect();
    client.execute(&statement, &[&partition, &fingerprints]).await?;
    Ok(())
}
