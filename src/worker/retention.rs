//! Prunes old rows in steps, and rests after each as long as it took.
//!
//! See `docs/decisions/0016-retention.md` and `docs/decisions/0026-retention-has-its-own-clock.md`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::context::Context;
use crate::backoff;
use crate::store::retention::{self, Step};

/// Time between a replica's rounds. Others find the work done.
const INTERVAL: Duration = Duration::from_secs(60);

/// A database clock this far ahead of retention's is logged. Less is a worker that was off overnight.
const AHEAD_LOGGED: f64 = 86_400.0;

pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut advanced = Instant::now();
    let mut logged = false;
    while !stop.is_cancelled() {
        let began = Instant::now();
        match retention::advance(&context.pool, began.duration_since(advanced)).await {
            Ok(ahead) => {
                advanced = began;
                logged = log_ahead(ahead, logged);
            }
            Err(error) => warn!(%error, "retention's clock was not advanced"),
        }
        let deleted = prune(&context, &stop).await;
        if deleted > 0 {
            info!(deleted, "pruned old rows");
        }
        rest(backoff::spread(INTERVAL), &stop).await;
    }
}

/// Returns whether the clock is ahead; it is logged once.
fn log_ahead(seconds: f64, logged: bool) -> bool {
    let ahead = seconds > AHEAD_LOGGED;
    if ahead && !logged {
        warn!(
            seconds,
            "the database's clock is ahead of retention's, so old rows are deleted later. It was set \
             ahead, or no worker ran. Check it; if it is right, run `holdfast policy believe-clock`, \
             or wait: retention catches up in as long"
        );
    }
    ahead
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
