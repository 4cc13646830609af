//! One broker session: two connections, a pipeline per owned partition, the sweep, the relay and retention.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connections::Connections;
use super::context::Context;
use super::{partition, relay, retention, sweep};
use crate::backoff;
use crate::broker::{BrokerError, declare, ring};

/// How often a silently lost connection is looked for.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The topology was not applied, or is gone.
    #[error("the broker lacks {}", .0.join(", "))]
    TopologyMissing(Vec<String>),
    /// A connection is gone.
    #[error("the connection to the broker is lost")]
    ConnectionLost,
}

/// Runs until told to stop (then drained, `Ok`) or until the session breaks.
pub async fn run(
    context: Arc<Context>,
    owned: watch::Receiver<Vec<i32>>,
    stop: CancellationToken,
) -> Result<(), SessionError> {
    let connections = Arc::new(Connections::open(&context).await?);
    let missing = declare::missing(&connections.publish, context.shape).await?;
    if !missing.is_empty() {
        return Err(SessionError::TopologyMissing(missing));
    }
    // On the connection that nothing consumes on: while others work on the ring, this one waits.
    ring::complete(&connections.publish, context.shape.partitions).await?;
    // Ends whatever belongs to this session, however it ends.
    let session = CancellationToken::new();
    let _ends = session.clone().drop_guard();
    let relay_stop = session.child_token();
    let relay = tokio::spawn(relay::run(context.clone(), connections.clone(), relay_stop.clone()));
    if context.settings.sweep {
        tokio::spawn(sweep::run(context.clone(), connections.clone(), session.child_token()));
    }
    tokio::spawn(retention::run(context.clone(), session.child_token()));
    let mut partitions = Partitions::new(context.clone(), connections.clone(), session.clone());
    let outcome = partitions.follow(owned, &stop).await;
    let grace = context.settings.drain_grace;
    if timeout(grace, partitions.let_go()).await.is_err() {
        warn!("drain took too long; what is in hand is left to others");
    }
    relay_stop.cancel();
    if outcome.is_ok() {
        // The relay makes a last round, so that this worker publishes what it decided.
        timeout(grace, relay).await.ok();
        connections.close().await;
    }
    outcome
}

/// The pipelines of this session.
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

    /// Keeps a pipeline for each partition that this worker owns.
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
                Some(ended) = self.tasks.join_next() => if let Ok(partition) = ended {
                    self.running.remove(&partition);
                },
                _ = health.tick() => {}
            }
            // Also when a pipeline has ended: it may be for this reason.
            if !self.connections.alive() {
                return Err(SessionError::ConnectionLost);
            }
        }
    }

    /// Starts missing pipelines and lets go of partitions that others own. A partition that comes back
    /// while it is let go of is started once its old pipeline has ended.
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

    /// Lets go of everything and waits until it is done.
    async fn let_go(&mut self) {
        for stop in self.running.values() {
            stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Runs a partition's pipeline, again after a failure, until told to stop or until the connections
/// are gone. A deleted queue disturbs no other partition.
async fn keep_consuming(
    context: Arc<Context>,
    connections: Arc<Connections>,
    number: i32,
    stop: CancellationToken,
) -> i32 {
    let mut failures = 0;
    while !stop.is_cancelled() {
        info!(partition = number, "consuming");
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
