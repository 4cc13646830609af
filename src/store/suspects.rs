//! Messages that a worker may have crashed on.
//!
//! The broker counts deliveries for a whole prefetch window, innocent neighbours included. Here
//! each lone attempt is counted before it is made, so only the message itself can be to blame.

use deadpool_postgres::Pool;

use super::error::StoreError;
use crate::domain::world::Digest;

/// Counts an attempt that is about to be made and returns how many were made before.
pub async fn count_attempt(
    pool: &Pool,
    partition: i32,
    fingerprint: &Digest,
) -> Result<i32, StoreError> {
    let client = pool.get().await?;
    let row = client
        .query_one(
            "insert into suspects (partition, fingerprint, attempts) values ($1, $2, 1)
             on conflict (partition, fingerprint) do update
                 set attempts = suspects.attempts + 1, seen_at = clock_timestamp()
             returning attempts - 1",
            &[&partition, &fingerprint.as_slice()],
        )
        .await?;
    Ok(row.get(0))
}

/// Clears a message that was processed or set aside.
pub async fn clear(pool: &Pool, partition: i32, fingerprint: &Digest) -> Result<(), StoreError> {
    let client = pool.get().await?;
    client
        .execute(
            "delete from suspects where partition = $1 and fingerprint = $2",
            &[&partition, &fingerprint.as_slice()],
        )
        .await?;
    Ok(())
}
