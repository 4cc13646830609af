//! Servers on their way to another partition, as workers see them.

use crate::store::pool::Pool;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::rows::id;
use super::sql;
use crate::domain::input::Fence;

/// Notifies workers of moves that wait for their fence.
pub const CHANNEL: &str = "holdfast_moves";

/// A move that stands between two steps for this long has lost its operator. What is left to do of it can
/// be done by workers.
const ABANDONED_AFTER_SECONDS: f64 = 10.0;

/// A fence that was not read after this time is published again. A second fence changes nothing.
const FENCE_AGAIN_AFTER_SECONDS: f64 = 5.0;

/// Claims the moves that wait for a fence. Returns each fence and the partition whose tail it belongs to.
pub async fn claim_fences(pool: &Pool) -> Result<Vec<(i32, Fence)>, StoreError> {
    bounded("claiming fences", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("claim_fences")).await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&ABANDONED_AFTER_SECONDS, &FENCE_AGAIN_AFTER_SECONDS];
        let rows = session.client().query(&statement, &params).await?;
        session.finish();
        let fence = |row: &tokio_postgres::Row| {
            let fence = Fence { server: id(row, "server_id")?, id: row.try_get("fence")? };
            Ok((row.try_get("from_partition")?, fence))
        };
        rows.iter().map(fence).collect()
    })
    .await
}
