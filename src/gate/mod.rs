//! A gate stands beside a streaming server and lets in whom the plan allows.
//!
//! Reading order: `crate::domain::admission` decides, [`adapters`] translate, `hooks` answer, `reconcile`
//! disconnects, `database` keeps the plan and records what was used. `docs/streaming.md` describes it for
//! operators.
//!
//! Hooks and the list of clients are two mechanisms for one rule, as wake-up and sweep are for deadlines: a hook is
//! fast, the list finds what a hook missed. Gates of one server share no state. Nothing here needs the broker.

pub mod adapters;
mod checks;
mod clock;
mod control;
mod database;
mod hooks;
mod metrics;
mod plan_file;
mod reconcile;
mod report;
pub mod settings;
mod state;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::endpoint;
use checks::Check;
use settings::Settings;
use state::Gate;

/// Bound on recording what was seen when the gate ends.
const LAST_RECORD_TIMEOUT: Duration = Duration::from_secs(5);

/// How late the end of patience is noticed.
const PATIENCE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a gate ended: the database refuses its account, and retries do not heal that.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database has refused the account or password of DATABASE_URL, or its certificate was not trusted, for \
     {} s; correct the setting or the account and start the gate again",
    .0.as_secs()
)]
pub struct Hopeless(Duration);

/// Runs a gate until `stop`. Streams go on without it.
///
/// Fails if the address for hooks is taken, if the schema or the account's rights are wrong, or if the database
/// refuses the account for long. A database that is away is no failure.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen for hooks at {address}; choose another address with --listen")
    })?;
    let gate = Arc::new(Gate::new(settings));
    recall(&gate);
    let Settings { server, adapter, name, http_listen, .. } = &gate.settings;
    let address = listener.local_addr().unwrap_or(address);
    info!(%server, %adapter, gate = name, %address, "gate started");
    let endpoint = http_listen.and_then(|address| {
        let started = report::start(gate.clone(), address);
        started.inspect_err(|error| warn!(%error, "there is no /live, /ready and /metrics")).ok()
    });
    let mut database = tokio::spawn(database::run(gate.clone(), stop.clone()));
    let outcome = tokio::select! {
        () = serve(&gate, listener, &stop) => Ok(()),
        () = reconcile::run(gate.clone(), stop.clone()) => Ok(()),
        hopeless = patience(&gate) => Err(hopeless.into()),
        ended = &mut database => ended.context("the task that asks the database failed")?.map_err(Into::into),
    };
    stop.cancel();
    if !database.is_finished() && timeout(LAST_RECORD_TIMEOUT, &mut database).await.is_err() {
        database.abort();
        warn!("what was used lately is not recorded");
    }
    gate.checks.wrong(Check::Gate, "stopping");
    if let Some(endpoint) = endpoint {
        endpoint.end().await;
    }
    info!("gate stopped");
    outcome
}

async fn serve(gate: &Arc<Gate>, listener: TcpListener, stop: &CancellationToken) {
    endpoint::serve(listener, hooks::router(gate.clone()), hooks::CONNECTIONS_MAX, stop).await;
}

/// The plan of the last run, as long as it says something.
fn recall(gate: &Gate) {
    let Some(path) = &gate.settings.plan_file else { return };
    match plan_file::read(path, &gate.settings.server) {
        Ok(Some(kept)) => {
            let (at, database) = kept.clock;
            gate.clock.note_at(at, database);
            info!(as_of = %kept.plan.as_of(), "going on with the plan of the last run");
            gate.known().plan = Some(kept.plan);
        }
        Ok(None) => {}
        Err(error) => warn!(%error, path = %path.display(), "the plan's file is not used"),
    }
}

async fn patience(gate: &Gate) -> Hopeless {
    loop {
        if let Some(lasting) = gate.settings.database.hopeless() {
            return Hopeless(lasting);
        }
        sleep(PATIENCE_INTERVAL).await;
    }
}
