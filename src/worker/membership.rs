//! Which partitions this worker owns.
//!
//! Partition `i` belongs to the `(i mod n)`-th of the `n` live workers by id. A stale view costs
//! balance for a moment, never correctness.
//!
//! See `docs/decisions/0019-workers-share-partitions-by-order-of-id.md`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::context::Context;
use super::health::check::Check;
use super::metrics::labels::Engine;
use crate::backoff;
use crate::store::error::StoreError;
use crate::store::membership::{self, DEAD_AFTER_SECONDS, Member, Report};
use crate::store::{moves, outbox};

/// Three heartbeats fit into `DEAD_AFTER_SECONDS`.
const BEAT_INTERVAL: Duration = Duration::from_millis(1_500);

/// Timeout of each database exchange here, but for connecting.
const BEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// The partitions of `me`; `live` is ordered by id.
pub fn owned(partitions: i32, live: &[Uuid], me: Uuid) -> Vec<i32> {
    let Some(place) = live.iter().position(|id| *id == me) else {
        return Vec::new();
    };
    (0..partitions).filter(|p| usize::try_from(*p).is_ok_and(|p| p % live.len() == place)).collect()
}

/// Sends heartbeats until `stop`, then leaves. A worker whose last heartbeat is too old owns
/// nothing, because others may be taking over.
pub async fn run(
    context: Arc<Context>,
    member: Member,
    owned: watch::Sender<Vec<i32>>,
    stop: CancellationToken,
) {
    let mut last_beat = Instant::now();
    let mut failures: u32 = 0;
    while !stop.is_cancelled() {
        let outcome = connected(&context, &member, &owned, &stop, &mut last_beat).await;
        if let Err(error) = outcome {
            failures += 1;
            context.checks.wrong(Check::Database, &error);
            // Log an outage ever more rarely.
            if failures.is_power_of_two() {
                warn!(%error, failures, "no heartbeat");
            }
        } else {
            failures = 0;
        }
        if last_beat.elapsed().as_secs_f64() > DEAD_AFTER_SECONDS {
            publish(&context, &owned, Vec::new());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff::full_jitter(failures.min(3))) => {}
        }
    }
}

/// One connection's heartbeats.
async fn connected(
    context: &Arc<Context>,
    member: &Member,
    owned: &watch::Sender<Vec<i32>>,
    stop: &CancellationToken,
    last_beat: &mut Instant,
) -> Result<(), StoreError> {
    let notified = Arc::new(Notify::new());
    // It has a bound of its own, in which several servers are tried.
    let connecting = stop.run_until_cancelled(connect(context, notified.clone())).await;
    let Some(client) = connecting else { return Ok(()) };
    let client = client?;
    if context.leads.beat_at().is_some() {
        context.metrics.reconnects.of(Engine::Database).increment(1);
    }
    bounded(membership::join(&client)).await?;
    loop {
        // Until it is drained, others must not believe that nobody decides it.
        let mut ours: BTreeSet<i32> = owned.borrow().iter().copied().collect();
        ours.extend(context.partitions.running());
        let ours: Vec<i32> = ours.into_iter().collect();
        let (sent, address) = (std::time::Instant::now(), context.leads.address());
        let address = address.map(|address| address.to_string());
        let report = report(context, &ours, address.as_deref());
        let pulse = bounded(membership::beat(&client, member, &report)).await?;
        *last_beat = Instant::now();
        context.leads.beat(sent, pulse.exporter == Some(member.id));
        context.checks.good(Check::Database);
        context.rates.set(pulse.terminal_rate_max, pulse.query_rate_max);
        context.set_partitions(pulse.partitions);
        let mut assigned = self::owned(pulse.partitions, &pulse.live, member.id);
        assigned.retain(|partition| !pulse.paused.iter().any(|paused| paused.covers(*partition)));
        context.partitions.pause(pulse.paused);
        publish(context, owned, assigned);
        tokio::select! {
            () = stop.cancelled() => return bounded(membership::leave(&client, member.id)).await,
            () = notified.notified() => {}
            () = tokio::time::sleep(BEAT_INTERVAL) => {}
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "told to operators, decides nothing (P8)")]
fn report<'a>(
    context: &Context,
    partitions: &'a [i32],
    http_address: Option<&'a str>,
) -> Report<'a> {
    let (decided, decided_per_second) = context.throughput.sample(Instant::now());
    Report { partitions, decided, decided_per_second, clock: Utc::now(), http_address }
}

async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(BEAT_TIMEOUT, work).await.map_err(|_| StoreError::Timeout("a heartbeat"))?
}

/// A dedicated connection, because pooled ones do not expose notifications.
async fn connect(context: &Arc<Context>, notified: Arc<Notify>) -> Result<Client, StoreError> {
    let (client, mut connection) = context.database.clone().writable().connect().await?;
    let context = context.clone();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            match message {
                AsyncMessage::Notification(about) if about.channel() == outbox::CHANNEL => {
                    context.outbox_notified.notify_one();
                    context.copies_notified.notify_one();
                }
                AsyncMessage::Notification(about) if about.channel() == moves::CHANNEL => {
                    context.moves_notified.notify_one();
                }
                AsyncMessage::Notification(_) => notified.notify_one(),
                _ => {}
            }
        }
    });
    Ok(client)
}

fn publish(context: &Context, owned: &watch::Sender<Vec<i32>>, partitions: Vec<i32>) {
    context.partitions.own(&partitions);
    owned.send_if_modified(|current| {
        let changed = *current != partitions;
        if changed {
            info!(?partitions, "partitions assigned");
            *current = partitions;
        }
        changed
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_exactly_one_owner() {
        let workers: Vec<Uuid> = (0..5).map(Uuid::from_u128).collect();
        for n in 1..=workers.len() {
            let live = &workers[..n];
            let mut all: Vec<i32> = live.iter().flat_map(|me| owned(4, live, *me)).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3], "{n} workers");
        }
        assert!(owned(4, &workers[..2], workers[3]).is_empty(), "a dead worker owns nothing");
    }
}
