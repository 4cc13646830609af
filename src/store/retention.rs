//! Pruning, in bounded steps: answers, finished reservations, their messages and what gates watched by
//! the policy, dead letters
//! that were replayed or discarded as long, delivery attempts after a week.
//!
//! History and billing entries are never deleted. Ages are judged by retention's own clock, which no single
//! reading of the database's clock moves far: see `docs/decisions/0026-retention-has-its-own-clock.md`.

use std::time::Duration;

use crate::store::pool::Pool;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::sql;

/// Most rows per table and step: a few milliseconds of work.
const STEP_MAX: i64 = 1_000;

/// Waiting longer for a lock would delay decisions.
const SETTINGS: &str = "begin; set local lock_timeout = '100ms'";

/// In this order: an answer goes before its reservation.
const TABLES: [(&str, &str); 6] = [
    ("answers", sql!("prune_processed_commands")),
    ("outbox_messages", sql!("prune_outbox_messages")),
    ("reservations", sql!("prune_reservations")),
    ("gate_coverage", sql!("prune_coverage")),
    ("delivery_attempts", sql!("prune_attempts")),
    ("dead_letters", sql!("prune_dead_letters")),
];

/// The outcome of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Rows deleted.
    pub deleted: u64,
    /// Whether more may be left.
    pub more: bool,
}

/// Advances retention's clock, and stores the bounds of quota periods that come within reach.
///
/// `elapsed` is the measured time since this replica last succeeded. Returns by how many seconds the
/// database's clock is ahead of retention's: what it is not believed yet. Negative: it is behind.
pub async fn advance(pool: &Pool, elapsed: Duration) -> Result<f64, StoreError> {
    bounded("advancing retention's clock", async {
        let session = Session::take(pool).await?;
        let client = session.client();
        let statement = client.prepare_cached(sql!("update_timekeeping")).await?;
        let ahead = client.query_one(&statement, &[&elapsed.as_secs_f64()]).await?.try_get(0)?;
        session.finish();
        Ok(ahead)
    })
    .await
}

/// Prunes one step, unless another replica is pruning.
pub async fn step(pool: &Pool) -> Result<Step, StoreError> {
    bounded("pruning", step_unbounded(pool)).await
}

async fn step_unbounded(pool: &Pool) -> Result<Step, StoreError> {
    let session = Session::take(pool).await?;
    let client = session.client();
    client.batch_execute(SETTINGS).await?;
    let mut step = Step::default();
    let lock = client.prepare_cached(sql!("lock_retention")).await?;
    if client.query_one(&lock, &[]).await?.try_get(0)? {
        for (table, text) in TABLES {
            let statement = client.prepare_cached(text).await?;
            let deleted = client.execute(&statement, &[&STEP_MAX]).await?;
            if deleted > 0 {
                tracing::debug!(table, deleted, "pruned");
            }
            step.deleted += deleted;
            step.more |= deleted >= STEP_MAX.unsigned_abs();
        }
    }
    client.batch_execute("commit").await?;
    session.finish();
    Ok(step)
}
