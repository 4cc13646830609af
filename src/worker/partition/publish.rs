//! The second half of a pipeline: publishes answers, then acknowledges. Deferred messages are
//! published concurrently.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::acknowledge::Acknowledgements;
use super::error::PartitionError;
use super::intake::HandedOver;
use super::stages::{CommittedBatch, Deferred, Published};
use crate::broker::publisher::{Fate, Outgoing};
use crate::crash_point;
use crate::domain::id::ServerId;
use crate::domain::input::Trigger;
use crate::domain::interval::Timestamp;
use crate::left_undone;
use crate::store::access;
use crate::store::outbox::{self, Pending, RELAY_BATCH_MAX};
use crate::store::timers;
use crate::worker::context::Context;
use crate::worker::health::tasks::Part;
use crate::worker::messages::{self, PublishError};
use crate::worker::metrics::age;
use crate::worker::metrics::labels::Phase;
use crate::worker::publisher::Publisher;
use crate::worker::schedule::ScheduledWakeUp;

/// Tries of a message that the broker refuses (a full queue, say). The decision is stored: sending
/// the same id again returns the answer.
const REFUSED_TRIES_MAX: usize = 3;

pub(super) struct Outbound {
    pub context: Arc<Context>,
    pub partition: i32,
}

impl Outbound {
    /// Runs until the first half ends. Deferred messages have their own publisher, so that answers
    /// do not wait behind a large settlement or many new deadlines.
    pub async fn run(
        self,
        answers: Publisher,
        others: Publisher,
        acknowledgements: Acknowledgements,
        committed: mpsc::Receiver<HandedOver>,
    ) -> Result<(), PartitionError> {
        // Holds one batch's messages; when full it blocks publishing, and then deciding.
        let (defer, deferred) = mpsc::channel(1);
        tokio::try_join!(
            self.publish_batches(answers, acknowledgements, committed, defer),
            self.publish_deferred(others, deferred),
        )?;
        Ok(())
    }

    async fn publish_batches(
        &self,
        mut publisher: Publisher,
        acknowledgements: Acknowledgements,
        mut committed: mpsc::Receiver<HandedOver>,
        defer: mpsc::Sender<Deferred>,
    ) -> Result<(), PartitionError> {
        while let Some((batch, waiting)) = committed.recv().await {
            let (tasks, phases) = (&self.context.tasks, &self.context.metrics.phases);
            tasks.step(self.partition, Part::Answering);
            let began = Instant::now();
            let published = self.publish(&mut publisher, batch).await?;
            let confirmed = Instant::now();
            phases.of(Phase::Publish).record(confirmed - began);
            tasks.step(self.partition, Part::Answering);
            let acknowledged = acknowledgements.acknowledge(published).await?;
            phases.of(Phase::Acknowledge).record(confirmed.elapsed());
            // What comes next waits for the deferred messages of the batch before.
            tasks.rest(self.partition, Part::Answering);
            if let Some(waiting) = waiting {
                waiting.send(()).ok(); // the first half may have ended
            }
            if !acknowledged.deferred.is_empty() {
                let sent = defer.send(acknowledged.deferred).await;
                sent.map_err(|_| PartitionError::PublishingEnded)?;
            }
        }
        Ok(())
    }

    async fn publish(
        &self,
        publisher: &mut Publisher,
        batch: CommittedBatch,
    ) -> Result<Published, PartitionError> {
        let CommittedBatch {
            answers,
            rescheduled,
            deferred,
            isolated,
            enqueued_at,
            span,
            last_tag,
        } = batch;
        crash_point!("publishing");
        let publishing = span.phase("publish");
        publish(publisher, answers).await?;
        self.measure(&enqueued_at);
        self.schedule(publisher, rescheduled).await?;
        crash_point!("confirmed");
        publishing.end();
        Ok(Published { isolated, deferred, span, last_tag })
    }

    async fn publish_deferred(
        &self,
        mut publisher: Publisher,
        mut deferred: mpsc::Receiver<Deferred>,
    ) -> Result<(), PartitionError> {
        while let Some(Deferred { scheduled, pending, admitting }) = deferred.recv().await {
            self.context.tasks.step(self.partition, Part::Publishing);
            self.notify_gates(&admitting).await;
            self.schedule(&mut publisher, scheduled).await?;
            self.publish_pending(&mut publisher, &pending).await?;
            self.context.tasks.rest(self.partition, Part::Publishing);
        }
        Ok(())
    }

    /// Before the notices, so that a gate knows a key when its terminal does.
    async fn notify_gates(&self, admitting: &[ServerId]) {
        if !admitting.is_empty()
            && let Err(error) = access::notify(&self.context.pool, admitting).await
        {
            warn!(%error, partition = self.partition, "gates are not notified; they look themselves");
        }
    }

    /// The answers of a batch are confirmed together.
    fn measure(&self, enqueued_at: &[Timestamp]) {
        let now = self.context.clock.now();
        let ages = enqueued_at.iter().filter_map(|at| age(*at, now));
        ages.for_each(|age| self.context.metrics.answers.record(age));
    }

    async fn schedule(
        &self,
        publisher: &mut Publisher,
        wake_ups: Vec<ScheduledWakeUp>,
    ) -> Result<(), PartitionError> {
        if wake_ups.is_empty() {
            return Ok(());
        }
        let (hops, messages): (Vec<_>, Vec<Outgoing>) =
            wake_ups.into_iter().map(ScheduledWakeUp::into_parts).unzip();
        let fates = publish(publisher, messages).await?;
        let taken = hops.into_iter().zip(fates).filter(|(_, fate)| *fate == Fate::Routed);
        let taken: Vec<_> = taken.map(|(hop, _)| hop).collect();
        self.context.metrics.wake_ups.of(Trigger::Message).increment(taken.len() as u64);
        if !taken.is_empty()
            && let Err(error) = timers::mark_scheduled(&self.context.pool, &taken).await
        {
            // The sweep schedules them again, which is harmless.
            warn!(%error, partition = self.partition, "wake-ups are scheduled but not marked so");
        }
        Ok(())
    }

    /// Publishes bills and notices and deletes them from the outbox. The relay publishes what
    /// remains there, perhaps again, under the same ids.
    async fn publish_pending(
        &self,
        publisher: &mut Publisher,
        pending: &[Pending],
    ) -> Result<(), PartitionError> {
        if left_undone!("outbox-left") {
            return Ok(());
        }
        for part in pending.chunks(RELAY_BATCH_MAX as usize) {
            self.context.tasks.step(self.partition, Part::Publishing);
            let published = match messages::publish(&self.context, publisher, part).await {
                Ok(published) => published,
                Err(PublishError::Broker(error)) => return Err(error.into()),
                Err(PublishError::Store(error)) => {
                    warn!(%error, partition = self.partition, "notices are left to the relay");
                    continue;
                }
            };
            crash_point!("outbox-published");
            if let Err(error) = outbox::delete(&self.context.pool, &published.done).await {
                warn!(%error, partition = self.partition, "published, and left in the outbox");
            }
        }
        Ok(())
    }
}

/// Retries refused messages. What stays refused or is unroutable is dropped: answers are stored,
/// and the sweep finds instants.
async fn publish(
    publisher: &mut Publisher,
    messages: Vec<Outgoing>,
) -> Result<Vec<Fate>, PartitionError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut fates = publisher.publish(&messages).await?;
    for _ in 1..REFUSED_TRIES_MAX {
        let refused: Vec<usize> =
            (0..fates.len()).filter(|index| fates[*index] == Fate::Refused).collect();
        if refused.is_empty() {
            break;
        }
        let again: Vec<Outgoing> = refused.iter().map(|index| messages[*index].clone()).collect();
        for (index, fate) in refused.into_iter().zip(publisher.publish(&again).await?) {
            fates[index] = fate;
        }
    }
    for (Outgoing { exchange, routing_key, .. }, fate) in messages.iter().zip(&fates) {
        match fate {
            Fate::Routed => {}
            Fate::Unroutable => debug!(exchange, key = routing_key, "no queue for it"),
            Fate::Refused => warn!(exchange, key = routing_key, "refused by the broker"),
        }
    }
    Ok(fates)
}
