//! Looks for confirmed reservations whose time is over, and has their use recorded. Nothing waits for it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::context::Context;
use crate::backoff;
use crate::engine::close::{Closed, close_due};

pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        close_all(&context, &stop).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff::spread(context.settings.sweep_interval)) => {}
        }
    }
}

/// What fails is claimed again, here or elsewhere.
async fn close_all(context: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match close_due(&context.pool).await {
            Ok(Closed { count: 0, .. }) => return,
            Ok(Closed { count, more }) => {
                debug!(count, "recorded the use of reservations that are over");
                context.copies_notified.notify_one();
                if !more {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "the use of reservations was not recorded; it is tried again");
                return;
            }
        }
    }
}
