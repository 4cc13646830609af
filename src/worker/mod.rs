//! A worker decides the commands and settles the deadlines of its partitions.
//!
//! Reading order: [`membership`] assigns partitions, [`session`] runs a [`partition`] pipeline for
//! each, [`sweep`] finds what the delay ladder lost, [`relay`] publishes what remains in the
//! outbox, [`copies`] publishes events for subscribers, [`retention`] deletes old rows, [`closing`] records the use of what is over, [`queries`] answers queries, [`moves`] publishes the fences of
//! servers that move. [`health`] and [`metrics`] report over HTTP.
//!
//! There is no leader election, no fencing token and no decision by a replica's clock. The broker
//! keeps one active consumer per partition; the database arbitrates what a former owner still
//! commits.

mod about;
mod access;
mod accounts;
mod clock;
mod closing;
mod connections;
mod context;
mod copies;
mod exposition;
mod figures;
mod gather;
mod health;
mod leads;
pub mod membership;
pub(crate) mod messages;
mod metrics;
mod moves;
pub mod outgoing;
mod outlived;
mod owner;
pub mod partition;
mod partitions;
pub mod patience;
mod publisher;
mod queries;
mod rate_limit;
mod relay;
mod retention;
mod schedule;
pub mod secrets;
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
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backoff;
use crate::endpoint::Endpoint;
use crate::store::membership::Member;
use context::Context;
use health::check::Check;
use health::{http, look, supervisor};
pub use metrics::list as metric_list;
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
    let endpoint = start_endpoint(&context);
    let background = Background::start(&context, &stop);
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
    drop(background);
    if let Some(endpoint) = endpoint {
        endpoint.end().await;
    }
    ended.context("the membership task failed")?;
    if let Some(hopeless) = patience.await.context("the task that ends patience failed")? {
        return Err(hopeless.into());
    }
    info!(worker = %context.id, "worker stopped");
    outcome
}

/// The HTTP endpoint, if it is not off. Decisions do not wait for it.
fn start_endpoint(context: &Arc<Context>) -> Option<Endpoint> {
    let address = context.settings.http_listen?;
    let endpoint = http::start(context.clone(), address);
    endpoint.inspect_err(|error| warn!(%error, "there is no /live, /ready and /metrics")).ok()
}

/// What runs beside sessions, for as long as the worker does.
struct Background {
    _tasks: JoinSet<()>,
}

impl Background {
    fn start(context: &Arc<Context>, stop: &CancellationToken) -> Self {
        let mut tasks = JoinSet::new();
        let stopping = (context.clone(), stop.clone());
        tasks.spawn(async move {
            let (context, stop) = stopping;
            stop.cancelled().await;
            context.checks.wrong(Check::Worker, "stopping: it finishes what it has in hand");
        });
        tasks.spawn(supervisor::tell(context.clone(), stop.clone()));
        let ticking = context.clone();
        tasks.spawn(async move { ticking.tasks.tick().await });
        let (watching, stop) = (context.clone(), stop.clone());
        tasks.spawn(async move {
            let work = async {
                tokio::join!(
                    look::schema(watching.clone(), stop.clone()),
                    gather::from_database(watching.clone(), stop.clone())
                )
            };
            watching.tasks.watch("the look at the database", work).await;
        });
        Self { _tasks: tasks }
    }
}

/// Notes for `/ready` why there is no session.
fn note(context: &Context, error: &SessionError) {
    let check = match error {
        SessionError::TopologyMissing(missing) => {
            context.checks.good(Check::Broker);
            return context.checks.wrong(Check::Topology, look::lacks(missing));
        }
        SessionError::Broker(_)
        | SessionError::OtherInstallation(_)
        | SessionError::TakenOver(_)
        | SessionError::ConnectionLost => Check::Broker,
        SessionError::TaskFailed(_) | SessionError::TaskEnded(_) => Check::Worker,
    };
    context.checks.wrong(check, error);
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
        match session::run(context.clone(), owned.clone(), stop.clone(), first).await {
            Ok(()) => return Ok(()),
            Err(SessionError::TopologyMissing(missing)) if first => {
                bail!("the broker lacks {}; run `holdfast topology apply`", missing.join(", "));
            }
            Err(SessionError::OtherInstallation(why)) if first => bail!(why),
            Err(error) => {
                note(context, &error);
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
