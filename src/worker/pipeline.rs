//! One partition: collect, decode, decide in one transaction, hand over to [`announce`].
//!
//! While a batch's answers are on their way, the next batch is being decided; decisions of one
//! partition are committed in order, and answers are acknowledged in order.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::announce::{self, Arming, Handled};
use super::rate_limit::RateLimit;
use super::recoverability::{Action, judge};
use super::render::{Reaction, outgoing_dead, outgoing_reply, refused, render};
use super::{Context, isolation, schedule};
use crate::backoff;
use crate::broker::BrokerError;
use crate::broker::consumer::{QueueConsumer, received};
use crate::broker::publisher::Publisher;
use crate::broker::topology::{PREFETCH, partition_queue};
use crate::crash_point;
use crate::domain::id::TerminalId;
use crate::domain::refusal::Code;
use crate::domain::snapshot::{Command, Digest, Refusal, Step};
use crate::message::decode::{Decoded, decode};
use crate::message::envelope::{DeadReason, Received};
use crate::store::error::StoreError;
use crate::store::{self, batch};

/// Least time from the start of one batch to that of the next. A batch costs the broker and the
/// database much the same whatever is in it; without a pace, a worker that is done at once (with
/// refusals, say) wears both out with batches of a handful, at everybody's expense.
const PACE: Duration = Duration::from_millis(20);

/// Batches of fewer messages are not paced: who sends one thing after the other would be held up, and
/// little gained.
const PACED_MIN: usize = 4;

/// For taking attempts back when a pipeline ends: letting go must not wait for a database that is away.
const TAKE_BACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a pipeline ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database, where it could not be waited for.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop while waiting for the database: what is in hand goes back to the queue.
    #[error("stopped with a batch in hand")]
    Abandoned,
    /// The second half is gone; its own error says why.
    #[error("announcing ended")]
    AnnounceEnded,
}

/// Consumes a partition until `stop`, then finishes the batch in hand and closes the channel.
pub async fn run(
    context: Arc<Context>,
    connections: Arc<super::session::Connections>,
    partition: i32,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let publishers = [
        Publisher::open(&connections.publish).await?,
        Publisher::open(&connections.publish).await?,
    ];
    let mut consumer =
        QueueConsumer::open(&connections.consume, &partition_queue(partition), PREFETCH).await?;
    // One batch on its way out while the next is decided; more would only be more to lose.
    let (handled_tx, handled_rx) = mpsc::channel(1);
    let announcing = tokio::spawn(announce::run(
        context.clone(),
        partition,
        publishers,
        consumer.acknowledger(),
        handled_rx,
    ));
    let pipeline = Pipeline { context, partition, stop, shedding: Mutex::default() };
    let decided = pipeline.decide_batches(&mut consumer, handled_tx).await;
    let announced = announcing.await.unwrap_or(Err(PipelineError::AnnounceEnded));
    pipeline.take_back().await;
    let closed = consumer.close().await;
    match (decided, announced) {
        (_, Err(error)) => Err(error),
        (Err(error), Ok(())) => Err(error),
        (Ok(()), Ok(())) => Ok(closed?),
    }
}

struct Pipeline {
    context: Arc<Context>,
    partition: i32,
    stop: CancellationToken,
    shedding: Mutex<RateLimit>,
}

impl Pipeline {
    async fn decide_batches(
        &self,
        consumer: &mut QueueConsumer,
        handled: mpsc::Sender<Handled>,
    ) -> Result<(), PipelineError> {
        let mut not_before = Instant::now();
        loop {
            let deliveries = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                deliveries = async {
                    sleep_until(not_before.into()).await;
                    consumer.collect(self.context.settings.batch_max).await
                } => deliveries?,
            };
            not_before = Instant::now() + pace(deliveries.len(), self.context.settings.batch_max);
            crash_point!("delivered");
            let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.delivery_tag).collect();
            let messages: Vec<Received> = deliveries.into_iter().map(received).collect();
            debug!(partition = self.partition, messages = messages.len(), "batch");
            for group in isolation::groups(&messages) {
                let (messages, tags) = (&messages[group.clone()], &tags[group]);
                if isolation::is_suspect(&messages[0]) {
                    self.try_suspects(messages, tags, &handled).await?;
                } else {
                    let batch = Handled::through(tags);
                    self.decide_and_hand_over(messages, batch, &handled).await?;
                }
            }
        }
    }

    /// Takes back what we have survived, before others get the messages. If the database does not
    /// answer, that is done when we next meet suspects.
    async fn take_back(&self) {
        let taken = self.context.survived.take_back(&self.context.pool, self.partition);
        match timeout(TAKE_BACK_TIMEOUT, taken).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(partition = self.partition, %error, "nothing is taken back"),
            Err(_) => debug!(partition = self.partition, "nothing is taken back in time"),
        }
    }

    /// Decides suspects, each attempt counted first, so that a crash leaves a trace.
    async fn try_suspects(
        &self,
        messages: &[Received],
        tags: &[u64],
        handled: &mpsc::Sender<Handled>,
    ) -> Result<(), PipelineError> {
        let (pool, partition) = (&self.context.pool, self.partition);
        self.context.survived.take_back(pool, partition).await?;
        let fingerprints: Vec<Digest> = messages.iter().map(isolation::fingerprint).collect();
        let attempts = store::delivery_attempts::attempts(pool, partition, &fingerprints).await?;
        for range in isolation::tries(&attempts) {
            let mut batch = Handled::through(&tags[range.clone()]);
            batch.suspects = fingerprints[range.clone()].to_vec();
            let messages = &messages[range.clone()];
            if isolation::is_to_blame(attempts[range.start]) {
                self.park(&messages[0], &mut batch);
                hand_over(handled, batch).await?;
            } else {
                store::delivery_attempts::count_attempt(pool, partition, &batch.suspects).await?;
                let tried = self.decide_and_hand_over(messages, batch, handled).await;
                tried.inspect_err(|_| self.context.survived.note(partition, messages))?;
            }
        }
        Ok(())
    }

    async fn decide_and_hand_over(
        &self,
        messages: &[Received],
        mut batch: Handled,
        handled: &mpsc::Sender<Handled>,
    ) -> Result<(), PipelineError> {
        self.decide(messages, &mut batch).await?;
        hand_over(handled, batch).await
    }

    async fn decide(
        &self,
        messages: &[Received],
        batch: &mut Handled,
    ) -> Result<(), PipelineError> {
        let account = self.context.settings.broker.account();
        let mut steps = Vec::new();
        let mut origins = Vec::new();
        for message in messages {
            crash_point!(
                "poison",
                message.message_id.as_deref().is_some_and(|id| id.starts_with("poison"))
            );
            match decode(message, account) {
                Decoded::Step(Step::Command(command)) if self.sheds(&command, message) => {
                    let refusal = Refusal::plain(Code::RateLimited);
                    let id = Some(command.message_id.as_str());
                    self.turn_away(&command.terminal, id, &refusal, message, batch);
                }
                Decoded::Step(step) => {
                    steps.push(step);
                    origins.push(message);
                }
                Decoded::Refused { terminal, refusal } => {
                    let id = message.usable_message_id();
                    self.turn_away(&terminal, id, &refusal, message, batch);
                }
                Decoded::Dead(reason) => self.bury(message, reason, batch),
            }
        }
        crash_point!("decoded");
        let mut ranges: Vec<Range<usize>> = Vec::new();
        if !steps.is_empty() {
            ranges.push(0..steps.len());
        }
        let mut tries = 0;
        while let Some(range) = ranges.pop() {
            match self.decide_once(&steps[range.clone()], &origins[range.clone()], batch).await {
                Ok(()) => tries = 0,
                Err(error) => {
                    tries += 1;
                    let origin = origins[range.start];
                    if !self.recover(&error, tries, &range, origin, batch, &mut ranges).await? {
                        tries = 0;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a command's sender sends more than its share.
    fn sheds(&self, command: &Command, message: &Received) -> bool {
        let rate = self.context.terminal_rate_max.load(Ordering::Relaxed);
        rate > 0
            && !message.redelivered
            && self.shedding.lock().expect("nothing panics with it").sheds(
                command,
                rate,
                Instant::now(),
            )
    }

    /// Does what the failure calls for. Returns whether the same steps are tried again.
    async fn recover(
        &self,
        error: &StoreError,
        tries: u32,
        range: &Range<usize>,
        origin: &Received,
        batch: &mut Handled,
        ranges: &mut Vec<Range<usize>>,
    ) -> Result<bool, PipelineError> {
        let action = judge(error, tries, range.len());
        warn!(partition = self.partition, steps = range.len(), tries, %error, ?action, "batch failed");
        match action {
            Action::Retry | Action::Wait => {
                tokio::select! {
                    () = self.stop.cancelled() => return Err(PipelineError::Abandoned),
                    () = tokio::time::sleep(backoff::full_jitter(tries)) => {}
                }
                ranges.push(range.clone());
                return Ok(true);
            }
            Action::Halve => {
                let middle = range.start + range.len() / 2;
                ranges.push(middle..range.end);
                ranges.push(range.start..middle);
            }
            Action::Park => self.park(origin, batch),
        }
        Ok(false)
    }

    async fn decide_once(
        &self,
        steps: &[Step],
        origins: &[&Received],
        batch: &mut Handled,
    ) -> Result<(), StoreError> {
        let context = &self.context;
        let committed =
            batch::run(&context.pool, self.partition, steps, |decided| render(decided, steps))
                .await?;
        context.clock.set(committed.now);
        batch.aside.announced.extend(committed.announced);
        for (reaction, origin) in committed.rendered.into_iter().zip(origins) {
            match reaction {
                Reaction::Answer(reply) => self.answer(reply, origin, batch),
                Reaction::Dead(reason) => self.bury(origin, reason, batch),
                Reaction::Reschedule(wake_up) => {
                    batch.rescheduled.extend(self.arming(wake_up.due_at, committed.now));
                }
                Reaction::ToTail(wake_up) => batch.outgoing.push(schedule::to_tail(
                    context,
                    self.partition,
                    wake_up.due_at,
                    committed.now,
                    wake_up.trigger,
                )),
                Reaction::None => {}
            }
        }
        let new = committed.unscheduled.into_iter();
        batch.aside.armed.extend(new.filter_map(|due_at| self.arming(due_at, committed.now)));
        Ok(())
    }

    /// The next hop of a wake-up, unless the ladder is switched off.
    fn arming(
        &self,
        due_at: crate::domain::interval::Timestamp,
        now: crate::domain::interval::Timestamp,
    ) -> Option<Arming> {
        self.context.settings.ladder.then(|| {
            let (wake_up, message) = schedule::hop(&self.context, self.partition, due_at, now);
            (message, due_at, wake_up.scheduled_until)
        })
    }

    fn answer(&self, reply: super::render::Reply, origin: &Received, batch: &mut Handled) {
        let now = self.context.clock.now();
        batch.outgoing.push(outgoing_reply(reply, origin.traceparent.as_deref(), now));
    }

    /// Refuses what the database is not asked about. The answer is not persistent: sending the message
    /// again brings it again, and the broker confirms it without waiting for its disk. So a flood of
    /// such messages does not hold up what is behind it.
    fn turn_away(
        &self,
        terminal: &TerminalId,
        message_id: Option<&str>,
        refusal: &Refusal,
        origin: &Received,
        batch: &mut Handled,
    ) {
        let reply = refused(terminal.as_str(), message_id, refusal);
        self.answer(reply, origin, batch);
        batch.outgoing.last_mut().expect("it was just added").persistent = false;
    }

    fn bury(&self, message: &Received, reason: DeadReason, batch: &mut Handled) {
        warn!(partition = self.partition, reason = reason.as_str(), "dead letter");
        batch.outgoing.push(outgoing_dead(message, reason, self.partition));
    }

    /// The last resort for a message that cannot be decided: kept for operators, and its sender is
    /// told, if it has one.
    fn park(&self, message: &Received, batch: &mut Handled) {
        error!(partition = self.partition, routing_key = message.routing_key, "message set aside");
        self.bury(message, DeadReason::InternalError, batch);
        if let Some(terminal) = message.sender() {
            let refusal = Refusal::plain(Code::InternalError);
            let reply = refused(terminal.as_str(), message.usable_message_id(), &refusal);
            self.answer(reply, message, batch);
        }
    }
}

/// How long after the start of a batch the next one may begin. After a full one there is no need to
/// wait for more.
fn pace(messages: usize, batch_max: usize) -> Duration {
    if (PACED_MIN..batch_max).contains(&messages) { PACE } else { Duration::ZERO }
}

/// Hands a group over. Suspects are waited for until they are acknowledged, so that whoever comes next
/// is not blamed with them.
async fn hand_over(
    handled: &mpsc::Sender<Handled>,
    mut batch: Handled,
) -> Result<(), PipelineError> {
    let (done, acknowledged) = oneshot::channel();
    let waits = !batch.suspects.is_empty();
    batch.done = waits.then_some(done);
    handled.send(batch).await.map_err(|_| PipelineError::AnnounceEnded)?;
    if waits {
        acknowledged.await.map_err(|_| PipelineError::AnnounceEnded)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_batches_that_may_grow_are_paced() {
        for (messages, paced) in [(1, false), (3, false), (4, true), (99, true), (100, false)] {
            assert_eq!(
                pace(messages, 100),
                if paced { PACE } else { Duration::ZERO },
                "{messages}"
            );
        }
        assert_eq!(pace(1, 1), Duration::ZERO);
    }
}
