//! Gathers the figures of the installation, where this worker exports them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connections::Connections;
use super::context::Context;
use super::figures::Source;
use super::metrics::labels::{Pending, QueueName, TimerState};
use super::metrics::list::{self, Scope};
use super::metrics::register::{Registrar, recorder};
use crate::backoff;
use crate::broker::lookup::{self, FoundQueue};
use crate::broker::topology::{BILLING_QUEUE, DEAD, QUERIES_QUEUE, partition_queue};
use crate::store::figures::{self, Figures};

/// Time between two gatherings: some milliseconds of either engine's work, and less than most scrapers wait.
const INTERVAL: Duration = Duration::from_secs(10);

/// How soon a worker that comes to lead begins.
const LEAD_INTERVAL: Duration = Duration::from_secs(1);

/// Gathers what the database knows, until `stop`.
pub async fn from_database(context: Arc<Context>, stop: CancellationToken) {
    while wait(&context, &stop).await {
        match figures::load(&context.pool).await {
            Ok(figures) => context.figures.set(Source::Database, database_text(&figures)),
            // The former figures grow old and are not exported any more.
            Err(error) => warn!(%error, "the database's figures were not gathered"),
        }
        rest(&stop).await;
    }
}

/// Gathers what the broker knows, until `stop`.
pub async fn from_broker(
    context: Arc<Context>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    while wait(&context, &stop).await {
        let partitions = context.shape().partitions;
        let names: Vec<String> = (0..partitions)
            .map(partition_queue)
            .chain([QUERIES_QUEUE, BILLING_QUEUE, DEAD].map(str::to_owned))
            .collect();
        match lookup::queues(&connections.publish, &names).await {
            Ok(found) => context.figures.set(Source::Broker, broker_text(partitions, &found)),
            Err(error) => warn!(%error, "the broker's figures were not gathered"),
        }
        rest(&stop).await;
    }
}

/// Waits until this worker leads. `false`: it stops.
async fn wait(context: &Context, stop: &CancellationToken) -> bool {
    while !stop.is_cancelled() && !context.leads.now() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(LEAD_INTERVAL) => {}
        }
    }
    !stop.is_cancelled()
}

async fn rest(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = sleep(backoff::spread(INTERVAL)) => {}
    }
}

fn database_text(figures: &Figures) -> String {
    let recorder = recorder(Scope::Installation);
    let registrar = Registrar(&recorder);
    registrar.gauge(list::WORKERS).set(figures.workers as f64);
    registrar.gauge(list::OVERDUE_DEADLINES).set(figures.overdue as f64);
    registrar.gauge(list::OVERDUE_SECONDS).set(figures.overdue_seconds);
    let timers = registrar.gauges_by(list::TIMERS);
    timers.of(TimerState::Waiting).set(figures.timers_waiting as f64);
    timers.of(TimerState::Sent).set(figures.timers_sent as f64);
    let (messages, seconds) =
        (registrar.gauges_by(list::OUTBOX_MESSAGES), registrar.gauges_by(list::OUTBOX_SECONDS));
    for (kind, (count, age)) in
        [(Pending::Message, figures.outbox), (Pending::Copy, figures.copies)]
    {
        messages.of(kind).set(count as f64);
        seconds.of(kind).set(age);
    }
    registrar.gauge(list::FILED_DEAD_LETTERS).set(figures.filed_letters as f64);
    let (pauses, age) = figures.pauses;
    registrar.gauge(list::PAUSES).set(pauses as f64);
    registrar.gauge(list::PAUSE_SECONDS).set(age);
    recorder.handle().render()
}

/// `found` is in the order of the names; a queue that is missing has no series.
fn broker_text(partitions: i32, found: &[Option<FoundQueue>]) -> String {
    let recorder = recorder(Scope::Installation);
    let registrar = Registrar(&recorder);
    let mut found = found.iter();
    for (partition, queue) in (0..partitions).zip(found.by_ref()) {
        if let Some(queue) = queue {
            let series = registrar.gauge_with(list::BACKLOG_MESSAGES, partition.to_string());
            series.set(f64::from(queue.messages));
        }
    }
    for (name, queue) in [QueueName::Queries, QueueName::Billing, QueueName::Dead].iter().zip(found)
    {
        if let Some(queue) = queue {
            let name: &str = name.into();
            registrar.gauge_with(list::QUEUE_MESSAGES, name).set(f64::from(queue.messages));
        }
    }
    recorder.handle().render()
}
