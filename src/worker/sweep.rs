//! Finds what the delay ladder lost.
//!
//! It reads the reservations themselves and only *enqueues wake-ups*: settling here would overtake
//! reconfirmations that wait in the queue.
//!
//! See `docs/decisions/0004-sweep-only-enqueues.md`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connections::Connections;
use super::context::Context;
use super::publisher::Publisher;
use super::schedule;
use crate::backoff;
use crate::broker::BrokerError;
use crate::broker::publisher::{Fate, Outgoing};
use crate::crash_point;
use crate::domain::input::Trigger;
use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::timers::{self, Swept};

/// Fraction of the interval after which a partition may be swept again: replicas tick at random,
/// and the last sweeper may be gone.
const CLAIM_FRACTION: f64 = 0.4;

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

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
    crash_point!("sweeping");
    let interval = context.settings.sweep_interval.as_secs_f64() * CLAIM_FRACTION;
    let Swept { overdue, unscheduled, now } = timers::sweep(&context.pool, interval).await?;
    let Some(now) = now else {
        return Ok(());
    };
    let tail = |(partition, due_at): &(i32, Timestamp)| {
        schedule::to_tail(context, *partition, *due_at, now, Trigger::Sweep)
    };
    let messages: Vec<Outgoing> = overdue.iter().map(tail).collect();
    // Overdue instants first, then unscheduled ones.
    let unscheduled = if context.settings.ladder { unscheduled } else { Vec::new() };
    let (hops, scheduled): (Vec<_>, Vec<Outgoing>) = unscheduled
        .into_iter()
        .map(|(partition, due_at)| schedule::hop(context, partition, due_at, now).into_parts())
        .unzip();
    if messages.is_empty() && scheduled.is_empty() {
        return Ok(());
    }
    info!(overdue = messages.len(), unscheduled = scheduled.len(), "sweep sends wake-ups");
    let mut publisher = Publisher::open(context, &connections.publish).await?;
    let fates = publisher.publish(&messages).await?;
    let sent = fates.iter().filter(|fate| **fate == Fate::Routed).count();
    context.metrics.wake_ups.of(Trigger::Sweep).increment(sent as u64);
    let fates = publisher.publish(&scheduled).await?;
    let taken = hops.into_iter().zip(fates).filter(|(_, fate)| *fate == Fate::Routed);
    let taken: Vec<_> = taken.map(|(hop, _)| hop).collect();
    context.metrics.wake_ups.of(Trigger::Message).increment(taken.len() as u64);
    if !taken.is_empty() {
        timers::mark_scheduled(&context.pool, &taken).await?;
    }
    Ok(())
}
