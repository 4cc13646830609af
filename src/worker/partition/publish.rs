//! The second half of a pipeline: answers go out, then deliveries are acknowledged. Wake-ups of new
//! instants, events and notices go out beside them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::acknowledge::Acknowledgements;
use super::error::PartitionError;
use super::intake::HandedOver;
use super::stages::{CommittedBatch, Deferred, Published};
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::crash_point;
use crate::left_undone;
use crate::store::outbox::{self, Pending, RELAY_BATCH_MAX};
use crate::store::timers;
use crate::worker::context::Context;
use crate::worker::messages;
use crate::worker::schedule::ScheduledWakeUp;

/// Tries of a message that the broker refuses, for example because a terminal's queue is full. The
/// decision is stored: sending the same id again brings the answer.
const REFUSED_TRIES_MAX: usize = 3;

/// Publishes and acknowledges one partition's committed batches.
pub(super) struct Outbound {
    pub context: Arc<Context>,
    pub partition: i32,
}

impl Outbound {
    /// In order, until the first half ends. What is deferred goes out on the second publisher, so
    /// that answers do not wait behind a large settlement or many new deadlines.
    pub async fn run(
        self,
        answers: Publisher,
        others: Publisher,
        acknowledgements: Acknowledgements,
        committed: mpsc::Receiver<HandedOver>,
    ) -> Result<(), PartitionError> {
        // One batch's at a time; the next waits, and then so does deciding.
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
            let published = self.publish(&mut publisher, batch).await?;
            let acknowledged = acknowledgements.acknowledge(published).await?;
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
        let CommittedBatch { answers, rescheduled, deferred, isolated, last_tag } = batch;
        crash_point!("publishing");
        publish(publisher, answers).await?;
        self.schedule(publisher, rescheduled).await?;
        crash_point!("confirmed");
        Ok(Published { isolated, deferred, last_tag })
    }

    async fn publish_deferred(
        &self,
        mut publisher: Publisher,
        mut deferred: mpsc::Receiver<Deferred>,
    ) -> Result<(), PartitionError> {
        while let Some(Deferred { scheduled, pending }) = deferred.recv().await {
            self.schedule(&mut publisher, scheduled).await?;
            self.publish_pending(&mut publisher, &pending).await?;
        }
        Ok(())
    }

    /// Publishes wake-ups and marks those that the broker has taken.
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
        if !taken.is_empty()
            && let Err(error) =
                timers::mark_scheduled(&self.context.pool, self.partition, &taken).await
        {
            // The sweep schedules them once more, which does no harm.
            warn!(%error, partition = self.partition, "wake-ups are scheduled but not marked so");
        }
        Ok(())
    }

    /// Publishes events and notices, and deletes them from the outbox. Those that cannot be
    /// published, or published and not deleted, stay for the relay, which may publish them once
    /// more under the same id.
    async fn publish_pending(
        &self,
        publisher: &mut Publisher,
        pending: &[Pending],
    ) -> Result<(), PartitionError> {
        if left_undone!("untold") {
            return Ok(());
        }
        for part in pending.chunks(RELAY_BATCH_MAX as usize) {
            let published = messages::publish(&self.context, publisher, part).await?;
            crash_point!("told");
            if let Err(error) = outbox::delete(&self.context.pool, &published.done).await {
                warn!(%error, "published, and left in the outbox");
            }
        }
        Ok(())
    }
}

/// Publishes, and retries what the broker refuses. A message that stays refused or has no queue is
/// given up: its answer is stored, and the sweep finds its instant.
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
