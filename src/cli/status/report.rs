//! What `holdfast status` tells, for programs. Fields are only added; what is not known is `null`.

use std::collections::HashMap;

use serde::Serialize;
use uuid::Uuid;

use crate::broker::depths::Depths;
use crate::broker::inspect::QueueState;
use crate::broker::lookup::FoundQueue;
use crate::broker::topology::partition_queue;
use crate::domain::interval::Timestamp;
use crate::store::admin::pauses::Pause;
use crate::store::admin::status::{
    COUNTED_MAX, OutboxDepth, PartitionState, RecordedTopology, WorkerLine,
};

/// An engine, as this command found it.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Engine {
    /// Whether it answered.
    pub reached: bool,
    /// Its version, if it tells.
    pub version: Option<String>,
    /// Why it did not answer, with the next step.
    pub problem: Option<String>,
}

/// A queue that all workers share.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Queue {
    pub waiting: u32,
    pub consumers: u32,
}

impl Queue {
    pub fn of(found: &FoundQueue) -> Self {
        Self { waiting: found.messages, consumers: found.consumers }
    }
}

/// A partition, from both engines.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Partition {
    pub partition: i32,
    /// The live worker that says that it consumes it.
    pub owner: Option<Uuid>,
    pub servers: Option<i64>,
    /// Overdue deadlines, as far as they are counted.
    pub overdue: Option<i64>,
    pub overdue_since: Option<Timestamp>,
    /// Whether operators have paused it.
    pub paused: bool,
    /// Whether the broker has its queue.
    pub declared: Option<bool>,
    /// Messages that no worker has in hand yet.
    pub waiting: Option<u32>,
    pub consumers: Option<u32>,
    /// Messages that its worker has in hand; by the management API.
    pub in_hand: Option<u64>,
    /// Acknowledged messages per second; by the management API.
    pub acknowledged_per_second: Option<f64>,
    /// How long a new message would wait at this rate, in seconds.
    pub wait_seconds: Option<f64>,
    /// When the oldest message was sent, where the broker tells.
    pub oldest_at: Option<i64>,
}

impl Partition {
    /// What is wrong with it, in a word or two; `None`: nothing that is known.
    pub fn trouble(&self) -> Option<&'static str> {
        match (self.declared, self.consumers, self.overdue) {
            (Some(false), _, _) => Some("no queue"),
            _ if self.paused => Some("paused"),
            (_, Some(0), _) => Some("no consumer"),
            (_, _, Some(1..)) => Some("late"),
            _ => None,
        }
    }
}

/// Deadlines that should have been settled.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Deadlines {
    pub overdue: i64,
    /// Whether there may be more than are counted.
    pub counted_all: bool,
    pub oldest_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Workers {
    pub live: Vec<WorkerLine>,
    /// Silent ones, of the past hour.
    pub dead: Vec<WorkerLine>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Report {
    /// The database's clock.
    pub at: Option<Timestamp>,
    /// This program's version.
    pub version: &'static str,
    pub database: Engine,
    pub broker: Engine,
    /// `None`: not configured.
    pub management: Option<Engine>,
    /// The vhost.
    pub vhost: String,
    /// The latest migration that the database has.
    pub schema: Option<i32>,
    pub topology: Option<RecordedTopology>,
    pub workers: Option<Workers>,
    pub partitions: Vec<Partition>,
    pub deadlines: Option<Deadlines>,
    pub outbox: Option<OutboxDepth>,
    pub queries: Option<Queue>,
    pub billing: Option<Queue>,
    pub dead_letters: Option<Queue>,
    /// Dead letters that were filed and are still open.
    pub filed_letters: Option<i64>,
    /// What operators have paused.
    pub pauses: Vec<Pause>,
}

impl Report {
    pub fn add_workers(&mut self, workers: Vec<WorkerLine>) {
        let (live, dead) = workers.into_iter().partition(|worker| worker.live);
        self.workers = Some(Workers { live, dead });
    }

    pub fn add_deadlines(&mut self, partitions: &[PartitionState]) {
        self.deadlines = Some(Deadlines {
            overdue: partitions.iter().map(|state| state.overdue).sum(),
            counted_all: partitions.iter().all(|state| state.overdue < COUNTED_MAX),
            oldest_at: partitions.iter().filter_map(|state| state.overdue_since).min(),
        });
    }

    pub fn add_queues(&mut self, depths: &Depths) {
        self.queries = depths.queries.as_ref().map(Queue::of);
        self.billing = depths.billing.as_ref().map(Queue::of);
        self.dead_letters = depths.dead.as_ref().map(Queue::of);
    }

    /// Puts together what database, broker and management API know of each partition.
    pub fn add_partitions(
        &mut self,
        states: &[PartitionState],
        depths: Option<&Depths>,
        queues: &[QueueState],
    ) {
        let live = self.workers.iter().flat_map(|workers| &workers.live);
        let owners: HashMap<i32, Uuid> = live
            .flat_map(|worker| worker.partitions.iter().map(|partition| (*partition, worker.id)))
            .collect();
        let count = depths.map_or(0, |depths| depths.partitions.len()).max(states.len());
        self.partitions = (0..count)
            .map(|index| {
                let partition = i32::try_from(index).unwrap_or(i32::MAX);
                let looked = depths.map(|depths| depths.partitions.get(index).cloned().flatten());
                let name = partition_queue(partition);
                let queue = queues.iter().find(|queue| queue.name == name);
                Partition {
                    owner: owners.get(&partition).copied(),
                    paused: self.pauses.iter().any(|pause| pause.scope.covers(partition)),
                    ..one(partition, states.get(index), looked, queue)
                }
            })
            .collect();
    }
}

/// `looked`: `None` if the broker was not asked, `Some(None)` if it has no such queue.
fn one(
    partition: i32,
    state: Option<&PartitionState>,
    looked: Option<Option<FoundQueue>>,
    queue: Option<&QueueState>,
) -> Partition {
    let found = looked.as_ref().and_then(Option::as_ref);
    let waiting = found.map(|found| found.messages);
    let rate = queue.and_then(QueueState::acknowledged_per_second);
    let wait_seconds = match (waiting, rate) {
        (Some(0), _) => Some(0.0),
        (Some(waiting), Some(rate)) if rate > 0.0 => Some(f64::from(waiting) / rate),
        _ => None,
    };
    Partition {
        partition,
        owner: None,
        paused: false,
        servers: state.map(|state| state.servers),
        overdue: state.map(|state| state.overdue),
        overdue_since: state.and_then(|state| state.overdue_since),
        declared: looked.as_ref().map(Option::is_some),
        waiting,
        consumers: found.map(|found| found.consumers),
        in_hand: queue.and_then(|queue| queue.messages_unacknowledged),
        acknowledged_per_second: rate,
        wait_seconds,
        oldest_at: queue.and_then(|queue| queue.head_message_timestamp),
    }
}
