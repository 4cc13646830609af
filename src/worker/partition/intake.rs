//! The first half of a pipeline: from the queue to the commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::decide::Decider;
use super::decode::Decoder;
use super::deliver::Inbox;
use super::error::PartitionError;
use super::isolate::{self, Attempted, Group};
use super::stages::{CommittedBatch, Delivered, Delivery};
use crate::backoff;
use crate::crash_point;
use crate::domain::input::Digest;
use crate::message::dead_letter::{DeadLetter, replayed};
use crate::message::envelope::Received;
use crate::store::delivery_attempts;
use crate::store::letters::{self, Named};
use crate::worker::context::Context;
use crate::worker::health::tasks::Part;
use crate::worker::metrics::age;

/// Releasing a partition must not wait longer for an unreachable database.
const UNCOUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// A batch to publish, and a channel that signals its acknowledgement.
pub(super) type HandedOver = (CommittedBatch, Option<oneshot::Sender<()>>);

pub(super) struct Intake {
    context: Arc<Context>,
    partition: i32,
    stop: CancellationToken,
    decoder: Decoder,
    decider: Decider,
    committed: mpsc::Sender<HandedOver>,
}

impl Intake {
    pub fn new(
        context: Arc<Context>,
        partition: i32,
        stop: CancellationToken,
        committed: mpsc::Sender<HandedOver>,
    ) -> Self {
        let decoder = Decoder { partition, rate_limit: Mutex::default() };
        let decider = Decider { context: context.clone(), partition, stop: stop.clone() };
        Self { context, partition, stop, decoder, decider, committed }
    }

    /// Runs until `stop`; the publishing half then finishes its batches.
    pub async fn run(self, inbox: &mut Inbox) -> Result<(), PartitionError> {
        let outcome = self.take_in(inbox).await;
        self.uncount_attempts().await;
        outcome
    }

    async fn take_in(&self, inbox: &mut Inbox) -> Result<(), PartitionError> {
        loop {
            let delivered = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                // Otherwise an idle partition would have no consumer that acknowledges.
                () = self.committed.closed() => return Err(PartitionError::PublishingEnded),
                delivered = inbox.next() => delivered?,
            };
            crash_point!("delivered");
            self.count(&delivered);
            let delivered = self.know_letters(delivered).await?;
            debug!(partition = self.partition, messages = delivered.0.len(), "batch");
            for group in isolate::groups(delivered) {
                match group {
                    Group::Ordinary(delivered) => {
                        let batch = self.process(delivered).await?;
                        self.hand_over(batch, None).await?;
                    }
                    Group::Isolated(delivered) => self.isolate(delivered).await?,
                }
            }
        }
    }

    fn count(&self, delivered: &Delivered) {
        let (metrics, now) = (&self.context.metrics, self.context.clock.now());
        metrics.batch_messages.record(delivered.0.len() as f64);
        let messages = delivered.0.iter().map(|delivery| &delivery.message);
        let redelivered = messages.clone().filter(|message| message.redelivered).count();
        metrics.redelivered.increment(redelivered as u64);
        let ages = messages.filter_map(|message| age(message.enqueued_at?, now));
        ages.for_each(|age| metrics.queue.record(age));
    }

    async fn process(&self, delivered: Delivered) -> Result<CommittedBatch, PartitionError> {
        let tasks = &self.context.tasks;
        tasks.step(self.partition, Part::Deciding);
        self.know_senders(&delivered).await?;
        let decoded = self.decoder.decode(&self.context, delivered);
        let batch = self.decider.decide(decoded).await;
        // What comes next waits for the publishing half.
        tasks.rest(self.partition, Part::Deciding);
        batch
    }

    /// Puts the messages of dead letters in the places of those that name them. What was not asked for by the
    /// account that the broker vouches for stays as it is, and is no command. There is no other bound than
    /// the stop: the database says what the message is.
    async fn know_letters(&self, delivered: Delivered) -> Result<Delivered, PartitionError> {
        let named: Vec<Named> =
            delivered.0.iter().filter_map(|delivery| names_letter(&delivery.message)).collect();
        if named.is_empty() {
            return Ok(delivered);
        }
        let mut tries = 0;
        let letters = loop {
            match letters::load_replayed(&self.context.pool, &named).await {
                Ok(letters) => break letters,
                Err(error) => {
                    tries += 1;
                    warn!(partition = self.partition, %error, tries, "dead letters are not readable");
                    self.pause(tries).await?;
                }
            }
        };
        info!(partition = self.partition, letters = letters.len(), "replayed dead letters");
        Ok(Delivered(
            delivered.0.into_iter().map(|delivery| replaced(delivery, &letters)).collect(),
        ))
    }

    /// Fails if the partition is released meanwhile.
    async fn pause(&self, tries: u32) -> Result<(), PartitionError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(PartitionError::Abandoned),
            () = sleep(backoff::full_jitter(tries)) => Ok(()),
        }
    }

    /// Reads the workers' accounts again if an internal message comes from another one. There is no other
    /// bound than the stop, as for deciding: the database decides whose message it is.
    async fn know_senders(&self, delivered: &Delivered) -> Result<(), PartitionError> {
        let accounts = &self.context.accounts;
        let unknown = |delivery: &Delivery| accounts.may_lack_sender_of(&delivery.message);
        if !delivered.0.iter().any(unknown) {
            return Ok(());
        }
        let mut tries = 0;
        while let Err(error) = accounts.reload(&self.context.pool).await {
            tries += 1;
            self.context.tasks.step(self.partition, Part::Deciding);
            warn!(partition = self.partition, %error, tries, "workers' accounts are not readable");
            self.pause(tries).await?;
        }
        Ok(())
    }

    async fn hand_over(
        &self,
        batch: CommittedBatch,
        acknowledged: Option<oneshot::Sender<()>>,
    ) -> Result<(), PartitionError> {
        let sent = self.committed.send((batch, acknowledged)).await;
        sent.map_err(|_| PartitionError::PublishingEnded)
    }

    /// Waits for the acknowledgement: a crash in the next isolated group must not count for this
    /// one.
    async fn hand_over_and_wait(&self, batch: CommittedBatch) -> Result<(), PartitionError> {
        let (done, acknowledged) = oneshot::channel();
        self.hand_over(batch, Some(done)).await?;
        acknowledged.await.map_err(|_| PartitionError::PublishingEnded)
    }

    async fn isolate(&self, delivered: Delivered) -> Result<(), PartitionError> {
        let (pool, partition) = (&self.context.pool, self.partition);
        self.context.metrics.isolated.increment(delivered.0.len() as u64);
        self.context.outlived.uncount(pool, partition).await?;
        let attempted = isolate::attempted(pool, partition, delivered).await?;
        for group in isolate::tries(attempted) {
            match &group[..] {
                [alone] if alone.is_poison() => {
                    let batch = self.decider.parked(&alone.delivery, alone.fingerprint);
                    self.hand_over_and_wait(batch).await?;
                }
                _ => self.attempt(group).await?,
            }
        }
        Ok(())
    }

    /// Counts the attempt before making it, so that a crash leaves a trace.
    async fn attempt(&self, group: Vec<Attempted>) -> Result<(), PartitionError> {
        let (pool, partition) = (&self.context.pool, self.partition);
        let isolated: Vec<Digest> = group.iter().map(|message| message.fingerprint).collect();
        let uncounted = group.iter().filter(|message| message.may_be_uncounted());
        let uncounted: Vec<Digest> = uncounted.map(|message| message.fingerprint).collect();
        delivery_attempts::count_attempt(pool, partition, &isolated).await?;
        let delivered = Delivered(group.into_iter().map(|message| message.delivery).collect());
        let attempt = async {
            let batch = self.process(delivered).await?;
            self.hand_over_and_wait(CommittedBatch { isolated, ..batch }).await
        };
        attempt.await.inspect_err(|_| self.context.outlived.note(partition, uncounted))
    }

    /// Uncounts outlived attempts before others get the messages. If the database does not answer,
    /// this worker's next isolation does it.
    async fn uncount_attempts(&self) {
        let uncounted = self.context.outlived.uncount(&self.context.pool, self.partition);
        match timeout(UNCOUNT_TIMEOUT, uncounted).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(partition = self.partition, %error, "attempts stay counted"),
            Err(_) => {
                debug!(partition = self.partition, "attempts stay counted: no answer in time")
            }
        }
    }
}

/// The letter that a message names, and the account that the broker vouches for.
fn names_letter(message: &Received) -> Option<Named> {
    let letter = replayed(message.kind.as_deref(), &message.body)?;
    Some((letter, message.user_id.clone()?))
}

fn replaced(delivery: Delivery, letters: &HashMap<Named, DeadLetter>) -> Delivery {
    let Delivery { tag, message } = delivery;
    let message = match names_letter(&message).and_then(|named| letters.get(&named)) {
        Some(letter) => Received {
            delivery_count: message.delivery_count,
            redelivered: message.redelivered,
            ..letter.to_received()
        },
        None => message,
    };
    Delivery { tag, message }
}
