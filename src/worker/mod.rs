//! A worker: owns some of the partitions, decides their commands and settles their deadlines.
//!
//! Reading order: [`membership`] says which partitions are ours, [`session`] keeps a pipeline for
//! each, [`pipeline`] decides in batches, after [`shedding`] has refused what is too much, and
//! [`announce`] answers and acknowledges, [`sweep`] finds what the delay ladder lost, [`relay`] tells
//! events and notices, [`retention`] forgets what is old.
//!
//! Absent on purpose: leader election, fencing tokens, and any decision by a replica's clock. The
//! broker keeps a partition's consumer single, the database arbitrates whatever a former owner
//! still commits.

pub mod announce;
pub mod backoff;
pub mod clock;
pub mod isolation;
pub mod membership;
pub mod pipeline;
pub mod rate_limit;
pub mod recoverability;
pub mod relay;
pub mod render;
pub mod retention;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod sweep;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use anyhow::{Context as _, Result, bail};
use deadpool_postgres::Pool;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::broker::topology::Shape;
use crate::store::{membership::Member, migrations, pool, registry};
use clock::Clock;
use session::SessionError;
use settings::Settings;

/// Connections beside those of the pipelines: relay, sweep, and marking what was armed.
const SPARE_CONNECTIONS: usize = 4;

/// What all parts of a worker share.
pub struct Context {
    /// Settings.
    pub settings: Settings,
    /// Connections to PostgreSQL.
    pub pool: Pool,
    /// The topology that was applied.
    pub shape: Shape,
    /// The database's clock.
    pub clock: Clock,
    /// Most commands per second that a partition takes from one terminal; 0: as many as come.
    pub terminal_rate_max: AtomicU32,
    /// Wakes the relay when something is to be announced.
    pub announced: Notify,
    /// Attempts at suspects that are to be taken back.
    pub survived: isolation::Survived,
    /// This worker's id.
    pub id: Uuid,
}

/// Runs a worker until `stop` is cancelled, then drains: finishes and acknowledges what is in hand,
/// lets go of its partitions and leaves.
///
/// Fails at once when the database cannot be reached or is not set up, or when the topology is
/// missing; what breaks later is retried for as long as it takes.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<()> {
    let context = Arc::new(prepare(settings).await?);
    info!(worker = %context.id, partitions = context.shape.partitions, "worker started");
    let (owned_tx, owned_rx) = watch::channel(Vec::new());
    let member = Member {
        id: context.id,
        host: context.settings.host.clone(),
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
    };
    let membership = tokio::spawn(membership::run(context.clone(), member, owned_tx, stop.clone()));
    let outcome = keep_sessions(&context, owned_rx, &stop).await;
    stop.cancel();
    membership.await.context("the membership task failed")?;
    info!(worker = %context.id, "worker stopped");
    outcome
}

async fn prepare(settings: Settings) -> Result<Context> {
    let pending = migrations::pending(&settings.database).await?;
    if !pending.is_empty() {
        bail!("the database lacks {}; run `holdfast migrate`", pending.join(", "));
    }
    let config = pool::settings(&settings.database);
    let (client, connection) = config.connect().await.context("cannot connect to the database")?;
    let driver = tokio::spawn(connection);
    let shape = registry::load_topology(&client)
        .await?
        .context("no topology is recorded; run `holdfast topology apply`")?;
    let account = settings.broker.account();
    if registry::terminal_exists(&client, account).await? {
        // Its wake-ups would be believed.
        bail!("the workers' broker account {account} is also a terminal's; use another account");
    }
    drop(client);
    driver.abort();
    let shape =
        Shape { partitions: shape.partitions, delay_levels: shape.delay_levels.unsigned_abs() };
    let connections = usize::try_from(shape.partitions).unwrap_or(1) + SPARE_CONNECTIONS;
    Ok(Context {
        pool: pool::open(config, connections),
        settings,
        shape,
        clock: Clock::default(),
        terminal_rate_max: AtomicU32::new(0),
        announced: Notify::new(),
        survived: isolation::Survived::default(),
        id: Uuid::now_v7(),
    })
}

/// One broker session after another, until told to stop.
async fn keep_sessions(
    context: &Arc<Context>,
    owned: watch::Receiver<Vec<i32>>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut failures = 0;
    let mut first = true;
    while !stop.is_cancelled() {
        let began = std::time::Instant::now();
        match session::run(context.clone(), owned.clone(), stop.clone()).await {
            Ok(()) => return Ok(()),
            Err(SessionError::TopologyMissing(missing)) if first => {
                bail!("the broker lacks {}; run `holdfast topology apply`", missing.join(", "));
            }
            Err(error) => {
                // A session that lasted starts the count anew.
                failures = if began.elapsed().as_secs() > 60 { 0 } else { failures + 1 };
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
