//! Prunes old rows in steps, and rests after each as long as it took.
//!
//! See `docs/decisions/0016-retention.md`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::context::Context;
use crate::backoff;
use crate::store::retention::{self, Step};

/// Time between a replica's rounds. Others find the work done.
const INTERVAL: Duration = Duration::from_secs(60);

pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let deleted = prune(&context, &stop).await;
        if deleted > 0 {
            info!(deleted, "pruned old rows");
        }
        rest(backoff::spread(INTERVAL), &stop).await;
    }
}

/// A failed step is left to the next round: nothing waits for it.
async fn prune(context: &Context, stop: &CancellationToken) -> u64 {
    let mut deleted = 0;
    while !stop.is_cancelled() {
        let began = Instant::now();
        match retention::step(&context.pool).await {
            Ok(Step { deleted: step, more }) => {
                deleted += step;
                if !more {
                    break;
                }
            }
            Err(error) => {
                warn!(%error, "pruning failed");
                break;
            }
        }
        rest(began.elapsed(), stop).await;
    }
    deleted
}

async fn rest(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}
