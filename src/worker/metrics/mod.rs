//! What a worker counts and measures, for Prometheus.
//!
//! [`list`] is the closed list. [`Metrics`] has a handle for each series, made once at the start, so that
//! counting is an addition. Nothing here queries an engine.

pub mod labels;
pub mod list;
pub mod register;

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, NoopRecorder, Recorder};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::domain::input::Trigger;
use crate::domain::interval::Timestamp;
use crate::engine::tally::{Tally, Timings};
use crate::message::envelope::DeadReason;
use crate::worker::health::check::Check;
use labels::{
    CommandKind, CommandOutcome, Confirm, Engine, Phase, PoolName, PoolState, QueryKind,
    QueryOutcome, Remedy, Settled, To,
};
use register::{By, By2, Registrar};

/// A broker's timestamp further away than this is wrong, or a terminal's invention.
const TIMESTAMP_AGE_MAX: Duration = Duration::from_secs(86_400);

/// Handles for every series of a worker.
pub struct Metrics {
    prometheus: Option<PrometheusHandle>,
    pub commands: By2<CommandKind, CommandOutcome, Counter>,
    pub repeated: By<CommandKind, Counter>,
    pub queries: By2<QueryKind, QueryOutcome, Counter>,
    pub settlements: By2<Trigger, Settled, Counter>,
    pub lateness: By<Trigger, Histogram>,
    pub charges: Counter,
    pub reminders: Counter,
    pub batch_messages: Histogram,
    pub queue: Histogram,
    pub phases: By<Phase, Histogram>,
    pub answers: Histogram,
    pub failures: By<Remedy, Counter>,
    pub redelivered: Counter,
    pub isolated: Counter,
    pub published: By2<To, Confirm, Counter>,
    pub dead_letters: By<DeadReason, Counter>,
    pub wake_ups: By<Trigger, Counter>,
    pub ready: By<Check, Gauge>,
    pub partitions: Gauge,
    pub reconnects: By<Engine, Counter>,
    pub pool: By2<PoolName, PoolState, Gauge>,
    pub pool_max: By<PoolName, Gauge>,
    pub pool_waiting: By<PoolName, Gauge>,
    pub tasks_died: Counter,
    pub log_lines_lost: Counter,
}

impl Metrics {
    /// Counts from zero. `started` is for [`list::START_TIME_SECONDS`].
    pub fn new(started: Timestamp) -> Self {
        let recorder = register::recorder(list::Scope::Worker);
        let metrics = Self::on(&recorder, started);
        Self { prometheus: Some(recorder.handle()), ..metrics }
    }

    /// Counts nothing: nobody asks.
    pub fn off() -> Self {
        Self::on(&NoopRecorder, Timestamp::UNIX_EPOCH)
    }

    fn on(recorder: &dyn Recorder, started: Timestamp) -> Self {
        let registrar = Registrar(recorder);
        registrar.gauge_with(list::BUILD_INFO, env!("CARGO_PKG_VERSION")).set(1.0);
        registrar.gauge(list::START_TIME_SECONDS).set(seconds_since_epoch(started));
        Self {
            prometheus: None,
            commands: registrar.counters_by2(list::COMMANDS),
            repeated: registrar.counters_by(list::COMMANDS_REPEATED),
            queries: registrar.counters_by2(list::QUERIES),
            settlements: registrar.counters_by2(list::SETTLEMENTS),
            lateness: registrar.histograms_by(list::LATENESS_SECONDS),
            charges: registrar.counter(list::CHARGES),
            reminders: registrar.counter(list::REMINDERS),
            batch_messages: registrar.histogram(list::BATCH_MESSAGES),
            queue: registrar.histogram(list::QUEUE_SECONDS),
            phases: registrar.histograms_by(list::PHASE_SECONDS),
            answers: registrar.histogram(list::ANSWER_SECONDS),
            failures: registrar.counters_by(list::BATCH_FAILURES),
            redelivered: registrar.counter(list::REDELIVERED),
            isolated: registrar.counter(list::ISOLATED),
            published: registrar.counters_by2(list::PUBLISHED),
            dead_letters: registrar.counters_by(list::DEAD_LETTERS),
            wake_ups: registrar.counters_by(list::WAKE_UPS),
            ready: registrar.gauges_by(list::READY),
            partitions: registrar.gauge(list::PARTITIONS_OWNED),
            reconnects: registrar.counters_by(list::RECONNECTS),
            pool: registrar.gauges_by2(list::POOL_CONNECTIONS),
            pool_max: registrar.gauges_by(list::POOL_MAX),
            pool_waiting: registrar.gauges_by(list::POOL_WAITING),
            tasks_died: registrar.counter(list::TASKS_DIED),
            log_lines_lost: registrar.counter(list::LOG_LINES_LOST),
        }
    }

    /// The text for Prometheus.
    pub fn render(&self) -> String {
        self.prometheus.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Sorts recorded values into their buckets. Until then each takes memory.
    pub fn keep_up(&self) {
        if let Some(prometheus) = &self.prometheus {
            prometheus.run_upkeep();
        }
    }

    /// Counts a committed batch.
    pub fn count(&self, tally: &Tally, timings: &Timings) {
        for (kind, end) in &tally.commands {
            let kind = CommandKind::from(*kind);
            match CommandOutcome::of(*end) {
                Some(outcome) => self.commands.of(kind, outcome).increment(1),
                None => self.repeated.of(kind).increment(1),
            }
        }
        for settlement in &tally.settlements {
            let state = if settlement.confirmed { Settled::Confirmed } else { Settled::Cancelled };
            self.settlements.of(settlement.trigger, state).increment(1);
            // The database's clock may have been set back.
            let late = settlement.late.to_std().unwrap_or_default();
            self.lateness.of(settlement.trigger).record(late);
        }
        self.charges.increment(tally.charges);
        self.reminders.increment(tally.reminders);
        self.phases.of(Phase::Load).record(timings.load);
        self.phases.of(Phase::Decide).record(timings.decide);
        self.phases.of(Phase::Save).record(timings.save);
    }
}

/// Time since the broker's timestamp of a message. `None` if that is no time that it can have waited.
pub fn age(enqueued_at: Timestamp, now: Timestamp) -> Option<Duration> {
    // The clocks of broker and database may differ a little.
    let age = (now - enqueued_at).to_std().unwrap_or_default();
    (age <= TIMESTAMP_AGE_MAX).then_some(age)
}

fn seconds_since_epoch(at: Timestamp) -> f64 {
    (at - Timestamp::UNIX_EPOCH).as_seconds_f64()
}
