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
use super::health::check::Check;
use super::health::look;
use super::metrics::labels::Engine;
use super::{closing, copies, gather, moves, owner, partition, queries, relay, retention, sweep};
use crate::backoff;
use crate::broker::{BrokerError, declare};

/// Interval of checks for silently lost connections.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// What `/ready` says while the broker blocks connections that publish.
const BLOCKED: &str = "the broker takes no messages: an alarm of its disk or memory; see `rabbitmq-diagnostics alarms`";

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

/// `Ok` when stopped and drained, an error when the session breaks. `first`: there was none before.
pub async fn run(
    context: Arc<Context>,
    owned: watch::Receiver<Vec<i32>>,
    stop: CancellationToken,
    first: bool,
) -> Result<(), SessionError> {
    let Some(opened) = stop.run_until_cancelled(open(&context)).await else { return Ok(()) };
    let connections = opened?;
    if !first {
        context.metrics.reconnects.of(Engine::Broker).increment(1);
    }
    for check in [Check::Broker, Check::Topology] {
        context.checks.good(check);
    }
    if !stop.is_cancelled() {
        context.checks.good(Check::Worker);
    }
    // Stops the session's tasks, however it ends.
    let session = CancellationToken::new();
    let _ends = session.clone().drop_guard();
    let relay_stop = session.child_token();
    let mut services = start_services(&context, &connections, &session, &relay_stop);
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

/// Everything but the partitions.
fn start_services(
    context: &Arc<Context>,
    connections: &Arc<Connections>,
    session: &CancellationToken,
    relay_stop: &CancellationToken,
) -> JoinSet<&'static str> {
    let both = || (context.clone(), connections.clone());
    let mut services = JoinSet::new();
    let (c, b) = both();
    services.spawn(watched(context, "the relay", relay::run(c, b, relay_stop.clone())));
    let (c, b) = both();
    services.spawn(watched(context, "the relay of copies", copies::run(c, b, relay_stop.clone())));
    if context.settings.sweep {
        let (c, b) = both();
        services.spawn(watched(context, "the sweep", sweep::run(c, b, session.child_token())));
    }
    let (c, b) = both();
    services.spawn(watched(context, "the moves", moves::run(c, b, session.child_token())));
    let (c, b) = both();
    services.spawn(watched(context, "the queries", queries::run(c, b, session.child_token())));
    let retention = retention::run(context.clone(), session.child_token());
    services.spawn(watched(context, "the retention", retention));
    let closing = closing::run(context.clone(), session.child_token());
    services.spawn(watched(context, "the closing", closing));
    let (c, b) = both();
    let topology = look::topology(c, b, session.child_token());
    services.spawn(watched(context, "the look at the topology", topology));
    let (c, b) = both();
    let figures = gather::from_broker(c, b, session.child_token());
    services.spawn(watched(context, "the gathering of the broker's figures", figures));
    services
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

fn watched<F: Future<Output = ()>>(
    context: &Arc<Context>,
    name: &'static str,
    work: F,
) -> impl Future<Output = &'static str> + use<F> {
    let context = context.clone();
    async move {
        context.tasks.watch(name, work).await;
        name
    }
}

struct Partitions {
    context: Arc<Context>,
    connections: Arc<Connections>,
    session: CancellationToken,
    running: HashMap<i32, CancellationToken>,
    tasks: JoinSet<i32>,
    /// Whether the broker took no messages when last looked at.
    blocked: bool,
}

impl Partitions {
    fn new(
        context: Arc<Context>,
        connections: Arc<Connections>,
        session: CancellationToken,
    ) -> Self {
        let (running, tasks) = (HashMap::new(), JoinSet::new());
        Self { context, connections, session, running, tasks, blocked: false }
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
            self.look_whether_blocked();
        }
    }

    fn look_whether_blocked(&mut self) {
        let blocked = self.connections.publish.is_blocked();
        if blocked {
            self.context.checks.wrong(Check::Broker, BLOCKED);
        } else if self.blocked {
            self.context.checks.good(Check::Broker);
        }
        self.blocked = blocked;
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
                let (watching, number) = (self.context.clone(), *partition);
                self.tasks.spawn(async move {
                    let name = format!("the pipeline of partition {number}");
                    let work = keep_consuming(context, connections, number, stop);
                    watching.tasks.watch(&name, work).await
                });
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
        let _running = context.partitions.begin(number);
        let run = partition::run(context.clone(), connections.clone(), number, stop.clone());
        match run.await {
            Ok(()) => {
                info!(partition = number, "let go");
                context.partitions.not_consumed(number, "let go");
            }
            Err(error) => {
                failures += 1;
                context.partitions.not_consumed(number, &error);
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
