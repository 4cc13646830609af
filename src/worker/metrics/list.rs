//! The closed list of metrics: names, kinds, units, labels, meanings and buckets.
//!
//! Base units; no ids as labels. `docs/metrics.md` is generated from it.

use super::labels::{
    self, CommandKind, CommandOutcome, Confirm, Engine, Label, PoolName, PoolState, QueryKind,
    QueryOutcome, QueueName, Remedy, Settled, TimerState, To,
};
use crate::domain::input::Trigger;
use crate::message::envelope::DeadReason;
use crate::worker::health::check::Check;

/// Of a worker that is well, a phase takes milliseconds.
const PHASE: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// Terminals wait for milliseconds, and in an outage as long as it lasts.
const ANSWER: &[f64] =
    &[0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Two seconds are promised when all is well, and fifteen after an outage.
const LATENESS: &[f64] =
    &[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0];

/// Up to the largest batch.
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What Prometheus calls its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// It only grows, from zero at the worker's start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts of values in buckets, and their sum.
    Histogram,
}

/// Whom a metric is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The worker that exports it.
    Worker,
    /// All of the installation: one worker at a time exports it.
    Installation,
}

/// A label and its values.
#[derive(Debug, Clone, Copy)]
pub struct LabelOf {
    /// Its name.
    pub name: &'static str,
    /// Its values; `None`: small numbers, or a version.
    pub words: Option<fn() -> Vec<&'static str>>,
}

const fn label<T: Label>() -> LabelOf {
    LabelOf { name: T::NAME, words: Some(T::words) }
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [LabelOf],
    /// Its meaning, one sentence.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
    /// Whom it is about.
    pub scope: Scope,
}

macro_rules! metrics {
    ($($scope:ident $kind:ident $const:ident = $name:literal, $unit:literal,
        [$($label:expr),*], $($buckets:ident,)? $help:literal;)*) => {
        $(pub(in crate::worker) const $const: &Metric = &Metric {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
            buckets: metrics!(@buckets $($buckets)?),
            scope: Scope::$scope,
        };)*

        /// Every metric, in the order of the documentation.
        pub const ALL: &[&Metric] = &[$($const),*];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

metrics! {
    // Decisions.
    Worker Counter COMMANDS = "holdfast_commands_total", "commands",
        [label::<CommandKind>(), label::<CommandOutcome>()],
        "Commands that were decided, or refused without a decision, by kind and outcome. Repeats of a decided command are not among them.";
    Worker Counter COMMANDS_REPEATED = "holdfast_commands_repeated_total", "commands",
        [label::<CommandKind>()],
        "Commands that had been decided before and got the stored answer, or were copies.";
    Worker Counter QUERIES = "holdfast_queries_total", "queries",
        [label::<QueryKind>(), label::<QueryOutcome>()],
        "Queries by kind and outcome.";
    Worker Counter SETTLEMENTS = "holdfast_settlements_total", "reservations",
        [label::<Trigger>(), label::<Settled>()],
        "Reservations that were settled at their deadline, by what sent the wake-up and the state afterwards.";
    Worker Histogram LATENESS_SECONDS = "holdfast_settlement_lateness_seconds", "seconds",
        [label::<Trigger>()], LATENESS,
        "Time from a deadline to its settlement.";
    Worker Counter CHARGES = "holdfast_charges_total", "charges", [],
        "Charges that were decided: reservations confirmed at their deadline or booked late.";
    Worker Counter REMINDERS = "holdfast_reminders_total", "reminders", [],
        "Reminders that were decided.";

    // Batches.
    Worker Histogram BATCH_MESSAGES = "holdfast_batch_messages", "messages", [], BATCH,
        "Messages taken from a partition at once.";
    Worker Histogram QUEUE_SECONDS = "holdfast_queue_seconds", "seconds", [], ANSWER,
        "Time that a message waited in its partition, from the broker's timestamp, where it has one.";
    Worker Histogram PHASE_SECONDS = "holdfast_phase_seconds", "seconds",
        [label::<labels::Phase>()], PHASE,
        "Time that a batch took in each phase.";
    Worker Histogram ANSWER_SECONDS = "holdfast_answer_seconds", "seconds", [], ANSWER,
        "Time from the broker's timestamp of a message, where it has one, to the broker's confirm of the answers of its batch.";
    Worker Counter BATCH_FAILURES = "holdfast_batch_failures_total", "transactions",
        [label::<Remedy>()],
        "Transactions of batches that failed, by what was done about it.";
    Worker Counter REDELIVERED = "holdfast_redelivered_messages_total", "messages", [],
        "Messages of partitions that had been delivered before, to this worker or another.";
    Worker Counter ISOLATED = "holdfast_isolated_messages_total", "messages", [],
        "Messages that were processed apart, because they had been delivered twice or more.";

    // What is published.
    Worker Counter PUBLISHED = "holdfast_published_messages_total", "messages",
        [label::<To>(), label::<Confirm>()],
        "Published messages by whom they are for and the broker's confirm.";
    Worker Counter DEAD_LETTERS = "holdfast_dead_letters_total", "messages",
        [label::<DeadReason>()],
        "Dead letters that the broker took, by reason.";
    Worker Counter WAKE_UPS = "holdfast_wake_ups_sent_total", "messages",
        [label::<Trigger>()],
        "Wake-ups that the broker took: into the delay ladder (message), or for what the ladder missed (sweep).";

    // The process.
    Worker Gauge BUILD_INFO = "holdfast_build_info", "1",
        [LabelOf { name: "version", words: None }],
        "1, with the version of the program.";
    Worker Gauge START_TIME_SECONDS = "holdfast_start_time_seconds", "seconds", [],
        "When the worker started, in seconds since the Unix epoch.";
    Worker Gauge READY = "holdfast_ready", "0 or 1",
        [label::<Check>()],
        "Whether each check of /ready passes.";
    Worker Gauge PARTITIONS_OWNED = "holdfast_partitions_owned", "partitions", [],
        "Partitions that the worker owns.";
    Worker Counter RECONNECTS = "holdfast_reconnects_total", "connections",
        [label::<Engine>()],
        "Sessions with the broker and connections for heartbeats to the database that were begun anew after the first.";
    Worker Gauge POOL_CONNECTIONS = "holdfast_pool_connections", "connections",
        [label::<PoolName>(), label::<PoolState>()],
        "Open connections of the pools to the database.";
    Worker Gauge POOL_MAX = "holdfast_pool_max_connections", "connections",
        [label::<PoolName>()],
        "Most connections of a pool.";
    Worker Gauge POOL_WAITING = "holdfast_pool_waiting_tasks", "tasks",
        [label::<PoolName>()],
        "Tasks that wait for a connection of a pool.";
    Worker Counter TASKS_DIED = "holdfast_tasks_died_total", "tasks", [],
        "Tasks that panicked.";
    Worker Counter LOG_LINES_LOST = "holdfast_log_lines_lost_total", "lines", [],
        "Log lines that could not be written.";

    // The installation.
    Installation Gauge WORKERS = "holdfast_workers", "workers", [],
        "Live workers.";
    Installation Gauge OVERDUE_DEADLINES = "holdfast_overdue_deadlines", "reservations", [],
        "Reservations that are not settled a second after their deadline. At most 10000 are counted.";
    Installation Gauge OVERDUE_SECONDS = "holdfast_overdue_seconds", "seconds", [],
        "Age of the oldest deadline that is not settled; 0: there is none.";
    Installation Gauge TIMERS = "holdfast_timers", "instants",
        [label::<TimerState>()],
        "Instants ahead that need a wake-up, by whether it has been sent. At most 10000 of each are counted.";
    Installation Gauge OUTBOX_MESSAGES = "holdfast_outbox_messages", "messages",
        [label::<labels::Pending>()],
        "Bills and notices (message), and copies of events, that are not published yet. At most 10000 of each are counted.";
    Installation Gauge OUTBOX_SECONDS = "holdfast_outbox_seconds", "seconds",
        [label::<labels::Pending>()],
        "Age of the oldest of them; 0: there is none.";
    Installation Gauge BACKLOG_MESSAGES = "holdfast_backlog_messages", "messages",
        [LabelOf { name: "partition", words: None }],
        "Messages that are ready in the queue of a partition. Those in a worker's hands are not among them.";
    Installation Gauge QUEUE_MESSAGES = "holdfast_queue_messages", "messages",
        [label::<QueueName>()],
        "Messages that are ready in other queues: queries, bills for the biller, dead letters.";
    Installation Gauge FILED_DEAD_LETTERS = "holdfast_filed_dead_letters", "messages", [],
        "Dead letters that were taken from their queue and filed, and are neither replayed nor discarded. At most 10000 are counted.";
    Installation Gauge PAUSES = "holdfast_pauses", "pauses", [],
        "Pauses of deciding, each of all partitions or of one.";
    Installation Gauge PAUSE_SECONDS = "holdfast_pause_seconds", "seconds", [],
        "Age of the oldest pause; 0: there is none.";
}
