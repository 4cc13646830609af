//! Messages that a worker may have crashed on.
//!
//! The broker counts deliveries for a whole prefetch window, innocent neighbours included. Here
//! each lone attempt is counted before it is made, so only the message itself can be to blame.

use deadpool_postgres::Pool;
use tokio_postgres::types::ToSql;

use super::error::StoreError;
use super::pool::{Session, bounded};
use crate::domain::world::Digest;

/// Counts an attempt that is about to be made and returns how many were made before.
pub async fn count_attempt(
    pool: &Pool,
    partition: i32,
    fingerprint: &Digest,
) -> Result<i32, StoreError> {
    let count = "insert into suspects (partition, fingerprint, attempts) values ($1, $2, 1)
                 on conflict (partition, fingerprint) do update
                     set attempts = suspects.attempts + 1, seen_at = clock_timestamp()
                 returning attempts - 1";
    bounded("counting an attempt", async {
        let session = Session::take(pool).await?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&partition, &fingerprint.as_slice()];
        let row = session.client().query_one(count, &parameters).await?;
        session.finish();
        Ok(row.get(0))
    })
    .await
}

/// Clears a message that was processed or set aside.
pub async fn clear(pool: &Pool, partition: i32, fingerprint: &Digest) -> Result<(), StoreError> {
    let delete = "delete from suspects where partition = $1 and fingerprint = $2";
    bounded("clearing a suspect", async {
        let session = Session::take(pool).await?;
        session.client().execute(delete, &[&partition, &fingerprint.as_slice()]).await?;
        session.finish();
        Ok(())
    })
    .await
}
