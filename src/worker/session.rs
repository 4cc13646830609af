//! One broker session: two connections, a pipeline per owned partition, sweep, relay and retention.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connections::Connections;
use super::context::Context;
use super::{copies, moves, owner, partition, queries, relay, retention, sweep};
use crate::backoff;
use crate::broker::{BrokerError, declare};

/// Interval of checks for silently lost connections.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The broker or its connection.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Not applied, or deleted.
    #[error("the broker lacks {}", .0.join(", "))]
    TopologyMissing(Vec<String>),
    /// The vhost belongs to another installation.
    #[error("{0}")]
    OtherInstallation(String),
    /// It has become another's during the session.
    #[error("taken over: {0}")]
    TakenOver(String),
    #[error("the connection to the broker is lost")]
    ConnectionLost,
    /// A task of the session panicked, so nobody does its work.
    #[error("a task of the session failed: {0}")]
    TaskFailed(#[from] JoinError),
    /// A task that works until the session ends has ended before.
    #[error("a task of the session has ended: {0}")]
    TaskEnded(&'static str),
}

/// `Ok` when stopped and drained, an error when the session breaks.
pub async fn run(
    context: Arc<Context>,
    owned: watch::Receiver<Vec<i32>>,
    stop: CancellationToken,
) -> Result<(), SessionError> {
    let Some(opened) = stop.run_until_cancelled(open(&context)).await else { return Ok(()) };
    let connections = opened?;
    // Stops the session's tasks, however it ends.
    let session = CancellationToken::new();
    let _ends = session.clone().drop_guard();
    let relay_stop = session.child_token();
    let mut services = JoinSet::new();
    services.spawn(named(
        "the relay",
        relay::run(context.clone(), connections.clone(), relay_stop.clone()),
    ));
    services.spawn(named(
        "the relay of copies",
        copies::run(context.clone(), connections.clone(), relay_stop.clone()),
    ));
    if context.settings.sweep {
        let sweep = sweep::run(context.clone(), connections.clone(), session.child_token());
        services.spawn(named("the sweep", sweep));
    }
    let moves = moves::run(context.clone(), connections.clone(), session.child_token());
    services.spawn(named("the moves", moves));
    let queries = queries::run(context.clone(), connections.clone(), session.child_token());
    services.spawn(named("the queries", queries));
    services.spawn(named("the retention", retention::run(context.clone(), session.child_token())));
    let mut partitions = Partitions::new(context.clone(), connections.clone(), session.clone());
    let outcome = tokio::select! {
        outcome = partitions.follow(owned, &stop) => outcome,
        why = owner::lost(&context, &connections) => Err(SessionError::TakenOver(why)),
        Some(ended) = services.join_next() => Err(match ended {
            Ok(name) => SessionError::TaskEnded(name),
            Err(error) => error.into(),
        }),
    };
    let grace = context.settings.drain_grace;
    if timeout(grace, partitions.let_go()).await.is_err() {
        warn!("drain took too long; what is in hand is left to others");
    }
    if outcome.is_ok() {
        // The relay's last round publishes what this worker decided.
        relay_stop.cancel();
        session.cancel();
        timeout(grace, async { while services.join_next().await.is_some() {} }).await.ok();
        connections.close().await;
    }
    outcome
}

async fn open(context: &Context) -> Result<Arc<Connections>, SessionError> {
    let connections = Arc::new(Connections::open(context).await?);
    if let Some(why) = owner::check(context, &connections).await? {
        return Err(SessionError::OtherInstallation(why));
    }
    let missing =
        declare::missing(&connections.publish, context.installation, context.shape()).await?;
    match missing.is_empty() {
        true => Ok(connections),
        false => Err(SessionError::TopologyMissing(missing)),
    }
}

async fn named(name: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    name
}

struct Partitions {
    context: Arc<Context>,
    connections: Arc<Connections>,
    session: CancellationToken,
    running: HashMap<i32, CancellationToken>,
    tasks: JoinSet<i32>,
}

impl Partitions {
    fn new(
        context: Arc<Context>,
        connections: Arc<Connections>,
        session: CancellationToken,
    ) -> Self {
        Self { context, connections, session, running: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Runs a pipeline per owned partition.
    async fn follow(
        &mut self,
        mut owned: watch::Receiver<Vec<i32>>,
        stop: &CancellationToken,
    ) -> Result<(), SessionError> {
        let mut health = tokio::time::interval(HEALTH_INTERVAL);
        loop {
            let wanted: HashSet<i32> = owned.borrow_and_update().iter().copied().collect();
            self.adjust(&wanted);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = owned.changed() => if changed.is_err() {
                    return Ok(()); // the membership task has ended: the worker is stopping
                },
                Some(ended) = self.tasks.join_next() => { self.running.remove(&ended?); }
                _ = health.tick() => {}
            }
            // A pipeline may have ended for this reason.
            if !self.connections.alive() {
                return Err(SessionError::ConnectionLost);
            }
        }
    }

    /// A partition that returns while its pipeline stops starts again once that has ended.
    fn adjust(&mut self, wanted: &HashSet<i32>) {
        for (partition, stop) in &self.running {
            if !wanted.contains(partition) {
                stop.cancel();
            }
        }
        for partition in wanted {
            if !self.running.contains_key(partition) {
                let stop = self.session.child_token();
                self.running.insert(*partition, stop.clone());
                let (context, connections) = (self.context.clone(), self.connections.clone());
                self.tasks.spawn(keep_consuming(context, connections, *partition, stop));
            }
        }
    }

    async fn let_go(&mut self) {
        for stop in self.running.values() {
            stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Restarts a failed pipeline until `stop` or a lost connection. So a deleted queue disturbs no
/// other partition.
async fn keep_consuming(
    context: Arc<Context>,
    connections: Arc<Connections>,
    number: i32,
    stop: CancellationToken,
) -> i32 {
    let mut failures = 0;
    while !stop.is_cancelled() {
        info!(partition = number, "consuming");
        let _consumed = context.consumed.begin(number);
        let run = partition::run(context.clone(), connections.clone(), number, stop.clone());
        match run.await {
            Ok(()) => info!(partition = number, "let go"),
            Err(error) => {
                failures += 1;
                warn!(partition = number, %error, failures, "pipeline ended");
            }
        }
        if !connections.alive() {
            break;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff::full_jitter(failures)) => {}
        }
    }
    number
}
