//! From decoded messages to a committed batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::error::PartitionError;
use super::recover::{Action, is_arithmetic, judge};
use super::stages::{CommittedBatch, Decoded, Delivery};
use crate::backoff;
use crate::broker::publisher::Outgoing;
use crate::domain::id::ServerId;
use crate::domain::input::{Digest, Input};
use crate::domain::interval::Timestamp;
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;
use crate::engine::render::{Reaction, refused};
use crate::engine::spans::BatchSpan;
use crate::engine::{BatchError, Committed, decide_batch};
use crate::message::envelope::{DeadReason, Received};
use crate::store::error::StoreError;
use crate::worker::about::about;
use crate::worker::context::Context;
use crate::worker::health::tasks::Part;
use crate::worker::outgoing::answer;
use crate::worker::schedule::{self, ScheduledWakeUp};

type Item<'a> = (&'a Input, &'a Received);

/// Time between two looks for a server that is on its way. A move takes some tens of milliseconds, and
/// as long as its old partition takes to decide its backlog.
const FENCE_PAUSE: Duration = Duration::from_millis(20);

/// How often a wait for a server is logged.
const WAITING_LOG_INTERVAL: Duration = Duration::from_secs(5);

/// A wait for a server that is on its way.
#[derive(Default)]
struct Waiting {
    since: Option<Instant>,
    logged: Option<Instant>,
}

impl Waiting {
    fn log(&mut self, partition: i32, server: &ServerId) {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if self.logged.is_none_or(|logged| now - logged >= WAITING_LOG_INTERVAL) {
            self.logged = Some(now);
            let seconds = (now - since).as_secs();
            info!(
                partition,
                server = server.as_str(),
                seconds,
                "waiting for a server that moves here"
            );
        }
    }
}

pub(super) struct Decider {
    pub context: Arc<Context>,
    pub partition: i32,
    pub stop: CancellationToken,
}

impl Decider {
    /// A failed part is retried or halved until an undecidable message is alone and parked.
    pub async fn decide(&self, decoded: Decoded) -> Result<CommittedBatch, PartitionError> {
        let Decoded { inputs, answers, enqueued_at, span, last_tag } = decoded;
        let mut batch =
            CommittedBatch { answers, enqueued_at, span, last_tag, ..CommittedBatch::default() };
        let items: Vec<Item> = inputs.iter().map(|(input, message)| (input, message)).collect();
        // A stack: the next part is the last.
        let mut parts: Vec<&[Item]> = vec![&items];
        let mut tries = 0;
        let mut waiting = Waiting::default();
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            self.context.tasks.step(self.partition, Part::Deciding);
            let secrets = self.context.settings.access.as_deref();
            let deciding = decide_batch(&self.context.pool, Some(self.partition), part, secrets);
            let failed = match batch.span.within(deciding).await {
                Ok(committed) => {
                    self.add(committed, &mut batch);
                    tries = 0;
                    continue;
                }
                Err(BatchError::Early(place)) => {
                    let (ready, early) = part.split_at(place);
                    if ready.is_empty() {
                        self.wait_for_fence(early, &mut waiting).await?;
                    }
                    parts.extend([early, ready]);
                    continue;
                }
                Err(BatchError::Store(error)) => error,
            };
            tries += 1;
            match self.action_on(&failed, tries, part) {
                Action::Retry | Action::Wait => {
                    self.pause(tries).await?;
                    parts.push(part);
                }
                Action::Halve => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                    tries = 0;
                }
                Action::Park => {
                    part.iter().for_each(|(_, message)| self.park(message, &mut batch));
                    tries = 0;
                }
            }
        }
        Ok(batch)
    }

    /// Waits a moment before the server of the first input is looked for again.
    ///
    /// There is no other bound than the stop: what stands before the fence in the server's old
    /// partition is decided first, or the order is lost. Moves never wait for each other in a circle.
    async fn wait_for_fence(
        &self,
        early: &[Item<'_>],
        waiting: &mut Waiting,
    ) -> Result<(), PartitionError> {
        if let Some((Input::Command(command), _)) = early.first() {
            waiting.log(self.partition, &command.server);
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(PartitionError::Abandoned),
            () = sleep(FENCE_PAUSE) => Ok(()),
        }
    }

    fn action_on(&self, error: &StoreError, tries: u32, part: &[Item<'_>]) -> Action {
        let (partition, inputs) = (self.partition, part.len());
        let action = judge(error, tries, inputs);
        if action == Action::Wait && is_arithmetic(error) {
            error!(
                partition, tries, %error,
                "stored numbers are out of bounds: the partition waits until they are corrected"
            );
        } else if let [(_, alone)] = part {
            about!(warn, partition, alone, inputs, tries, %error, ?action, "batch failed");
        } else {
            warn!(partition, inputs, tries, %error, ?action, "batch failed");
        }
        self.context.metrics.failures.of(action.into()).increment(1);
        if action == Action::Wait {
            let what = format!("its batch has failed {tries} times and is retried: {error}");
            self.context.partitions.failing(partition, what);
        }
        action
    }

    /// Fails if the partition is released meanwhile.
    async fn pause(&self, tries: u32) -> Result<(), PartitionError> {
        tokio::select! {
            () = self.stop.cancelled() => Err(PartitionError::Abandoned),
            () = sleep(backoff::full_jitter(tries)) => Ok(()),
        }
    }

    fn add(&self, committed: Committed<&Received>, batch: &mut CommittedBatch) {
        let Committed { now, reactions, unscheduled, pending, copies, admitting, tally, timings } =
            committed;
        let (context, partition) = (&self.context, self.partition);
        context.metrics.count(&tally, &timings);
        context.partitions.decided(partition);
        context.clock.set(now);
        context.throughput.add(reactions.len());
        if copies {
            context.copies_notified.notify_one();
        }
        for (reaction, message) in reactions {
            match reaction {
                Reaction::Answer(reply) => {
                    if let Some(code) = reply.refused {
                        about!(debug, partition, message, code = code.as_str(), "refused");
                    }
                    batch.span.add(message, reply.outcome());
                    batch.answers.push(answer(reply, message, context.clock.now()));
                }
                Reaction::DeadAndAnswer(reason, reply) => {
                    context.strangers.note(&reply.terminal);
                    batch.span.add(message, reply.outcome());
                    batch.answers.push(context.dead_letter(message, reason, Some(partition)));
                    let answer = answer(reply, message, context.clock.now());
                    batch.answers.push(Outgoing { persistent: false, ..answer });
                }
                Reaction::Reschedule(wake_up) => {
                    batch.span.add(message, "rescheduled");
                    batch.rescheduled.extend(self.scheduled(partition, wake_up.due_at, now));
                }
                Reaction::ToTail(wake_up) => {
                    let (due_at, trigger) = (wake_up.due_at, wake_up.trigger);
                    batch.span.add(message, "to_tail");
                    batch.answers.push(schedule::to_tail(context, partition, due_at, now, trigger));
                }
                Reaction::Nothing => batch.span.add(message, "done"),
                Reaction::Cancelled(_) | Reaction::Rotated(_) => {
                    unreachable!("no queue carries an operator's request")
                }
            }
        }
        let scheduled = unscheduled
            .into_iter()
            .filter_map(|(partition, due_at)| self.scheduled(partition, due_at, now));
        batch.deferred.scheduled.extend(scheduled);
        batch.deferred.pending.extend(pending);
        batch.deferred.admitting.extend(admitting);
    }

    /// `None` if the ladder is off.
    fn scheduled(
        &self,
        partition: i32,
        due_at: Timestamp,
        now: Timestamp,
    ) -> Option<ScheduledWakeUp> {
        let hop = || schedule::hop(&self.context, partition, due_at, now);
        self.context.settings.ladder.then(hop)
    }

    /// The batch of one poison message.
    pub fn parked(&self, delivery: &Delivery, fingerprint: Digest) -> CommittedBatch {
        let mut batch = CommittedBatch {
            isolated: vec![fingerprint],
            span: BatchSpan::begin(self.partition, std::iter::once(&delivery.message)),
            last_tag: delivery.tag,
            ..CommittedBatch::default()
        };
        self.park(&delivery.message, &mut batch);
        batch
    }

    /// Dead-letters an undecidable message for operators and answers its sender, if it has one.
    fn park(&self, message: &Received, batch: &mut CommittedBatch) {
        let key = message.routing_key.as_str();
        about!(error, self.partition, message, routing_key = key, "message parked");
        batch.span.add(message, Code::InternalError.as_str());
        let partition = Some(self.partition);
        batch.answers.push(self.context.dead_letter(message, DeadReason::InternalError, partition));
        if let Some(terminal) = message.sender() {
            let (id, now) = (message.usable_message_id(), self.context.clock.now());
            let refusal = Refusal::plain(Code::InternalError);
            let reply = refused(terminal.as_str(), id, &refusal);
            batch.answers.push(answer(reply, message, now));
        }
    }
}
