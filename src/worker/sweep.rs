//! The net under the delay ladder.
//!
//! It looks at the reservations themselves and only ever *enqueues wake-ups*: settling here would
//! run ahead of reconfirmations that still wait in the queue.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::session::Connections;
use super::{Context, schedule};
use crate::backoff;
use crate::broker::BrokerError;
use crate::broker::publisher::{Fate, Publisher};
use crate::domain::snapshot::Trigger;
use crate::store::error::StoreError;
use crate::store::timers::{self, Swept};

/// A partition may be swept again after this part of the interval: replicas tick at random, and
/// the one that swept last may be gone.
const CLAIM_FRACTION: f64 = 0.4;

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Sweeps at once and then at every interval.
pub async fn run(context: Arc<Context>, connections: Arc<Connections>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = sweep(&context, &connections).await {
            warn!(%error, "sweep failed");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff::spread(context.settings.sweep_interval)) => {}
        }
    }
}

async fn sweep(context: &Context, connections: &Connections) -> Result<(), SweepError> {
    let interval = context.settings.sweep_interval.as_secs_f64() * CLAIM_FRACTION;
    let Swept { overdue, unscheduled, now } =
        timers::sweep(&context.pool, context.shape.partitions, interval).await?;
    let Some(now) = now else {
        return Ok(());
    };
    let mut messages = Vec::new();
    for (partition, due_at) in &overdue {
        messages.push(schedule::to_tail(context, *partition, *due_at, now, Trigger::Sweep));
    }
    let mut hops = Vec::new();
    if context.settings.ladder {
        for (partition, due_at) in &unscheduled {
            let (wake_up, message) = schedule::hop(context, *partition, *due_at, now);
            hops.push((*partition, wake_up));
            messages.push(message);
        }
    }
    if messages.is_empty() {
        return Ok(());
    }
    info!(overdue = overdue.len(), unscheduled = hops.len(), "sweep sends wake-ups");
    let fates = Publisher::open(&connections.publish).await?.publish(&messages).await?;
    for ((partition, wake_up), fate) in hops.iter().zip(&fates[overdue.len()..]) {
        if *fate == Fate::Routed {
            let armed = [(wake_up.due_at, wake_up.scheduled_until)];
            timers::mark_scheduled(&context.pool, *partition, &armed).await?;
        }
    }
    Ok(())
}
