//! A worker decides the commands and settles the deadlines of its partitions.
//!
//! Reading order: [`membership`] assigns partitions, [`session`] runs a [`partition`] pipeline for
//! each, [`sweep`] finds what the delay ladder lost, [`relay`] publishes what remains in the
//! outbox, [`copies`] publishes events for subscribers, [`retention`] deletes old rows, [`queries`] answers queries, [`moves`] publishes the fences of
//! servers that move.
//!
//! There is no leader election, no fencing token and no decision by a replica's clock. The broker
//! keeps one active consumer per partition; the database arbitrates what a former owner still
//! commits.

mod about;
mod accounts;
mod clock;
mod connections;
mod consumed;
mod context;
mod copies;
pub mod membership;
pub(crate) mod messages;
mod moves;
pub mod outgoing;
mod outlived;
mod owner;
pub mod partition;
pub mod patience;
mod queries;
mod rate_limit;
mod relay;
mod retention;
mod schedule;
mod session;
pub mod settings;
mod strangers;
mod sweep;
mod throughput;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backoff;
use crate::store::membership::Member;
use context::Context;
use session::SessionError;
use settings::Settings;

/// A session that lasted longer resets the count of failures.
const GOOD_SESSION: Duration = Duration::from_secs(60);

/// Runs a worker until `stop`, then drains: finishes and acknowledges its batches, releases its
/// partitions and leaves.
///
/// Fails if, at start, the database is unreachable or not set up, or the topology is missing. Later
/// failures are retried forever, unless an engine refuses the account or cannot prove who it is: then the
/// worker ends after [`patience`].
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    // Nothing is begun that would need an end.
    let Some(prepared) = stop.run_until_cancelled(Context::prepare(settings)).await else {
        return Ok(());
    };
    let context = Arc::new(prepared?);
    info!(worker = %context.id, partitions = context.shape().partitions, "worker started");
    let (owned_tx, owned_rx) = watch::channel(Vec::new());
    let member = Member {
        id: context.id,
        host: context.settings.host.clone(),
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let patience = tokio::spawn(patience::run(context.clone(), stop.clone()));
    let mut membership =
        tokio::spawn(membership::run(context.clone(), member, owned_tx, stop.clone()));
    let mut sessions = pin!(keep_sessions(&context, owned_rx, &stop));
    let (outcome, ended) = tokio::select! {
        outcome = &mut sessions => {
            stop.cancel();
            (outcome, membership.await)
        }
        // Without heartbeats it owns nothing: sessions drain, and the process ends.
        ended = &mut membership => {
            if !stop.is_cancelled() {
                error!("the membership task has ended; stopping");
            }
            stop.cancel();
            (sessions.await, ended)
        }
    };
    ended.context("the membership task failed")?;
    if let Some(hopeless) = patience.await.context("the task that ends patience failed")? {
        return Err(hopeless.into());
    }
    info!(worker = %context.id, "worker stopped");
    outcome
}

async fn keep_sessions(
    context: &Arc<Context>,
    owned: watch::Receiver<Vec<i32>>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut failures = 0;
    let mut first = true;
    while !stop.is_cancelled() {
        let began = Instant::now();
        match session::run(context.clone(), owned.clone(), stop.clone()).await {
            Ok(()) => return Ok(()),
            Err(SessionError::TopologyMissing(missing)) if first => {
                bail!("the broker lacks {}; run `holdfast topology apply`", missing.join(", "));
            }
            Err(SessionError::OtherInstallation(why)) if first => bail!(why),
            Err(error) => {
                failures = if began.elapsed() > GOOD_SESSION { 0 } else { failures + 1 };
                warn!(%error, failures, "broker session ended; connecting again");
            }
        }
        first = false;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff::full_jitter(failures)) => {}
        }
    }
    Ok(())
}
