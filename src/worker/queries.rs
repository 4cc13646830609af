//! Answers queries. Every worker takes some of them, batch by batch, from one queue. They change nothing
//! and are not ordered, so a flood of them costs decisions no more than a share of the machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connections::Connections;
use super::context::Context;
use super::metrics::labels::{QueryKind, QueryOutcome};
use super::outgoing::{answer_to_query, refusal};
use super::publisher::Publisher;
use super::rate_limit::{RateLimit, Urgency};
use crate::backoff;
use crate::broker::BrokerError;
use crate::broker::consumer::{QueueConsumer, received};
use crate::broker::publisher::Outgoing;
use crate::broker::topology::{QUERIES_QUEUE, QUERY_TTL_MS};
use crate::domain::outcome::Refusal;
use crate::domain::query::Query;
use crate::engine::answer_queries;
use crate::engine::query::Replied;
use crate::message::decode::{Decoded, decode_query};
use crate::message::envelope::Received;

/// Queries in one transaction: few, since the answers to some are long, and decisions wait meanwhile.
const BATCH_MAX: usize = 16;

/// Two batches: the next one is here while one is answered.
const PREFETCH: u16 = 2 * BATCH_MAX as u16;

/// After a batch of more than a few the worker rests for so many times as long as the batch took: a flood
/// of queries gets a fifth of its time, and leaves the machine to decisions. With a fixed rest of 20 ms
/// the 99th percentile of requests tripled beside a flood, on two processors.
const REST_FACTOR: u32 = 4;

/// Bounds of the rest. The longer one is for a batch that waited for the database.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// There is no rest after smaller batches: it would delay a terminal that asks one by one.
const RESTED_MIN: usize = 4;

/// Runs until `stop`, and after a failure again, while the connections live.
pub async fn run(context: Arc<Context>, connections: Arc<Connections>, stop: CancellationToken) {
    let mut failures = 0;
    while !stop.is_cancelled() && connections.alive() {
        let answering = Answering { context: &context, rate_limit: RateLimit::default() };
        match answering.run(&connections, &stop).await {
            Ok(()) => return,
            Err(error) => {
                failures += 1;
                warn!(%error, failures, "queries are not answered");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(backoff::full_jitter(failures)) => {}
        }
    }
}

struct Answering<'a> {
    context: &'a Context,
    rate_limit: RateLimit,
}

impl Answering<'_> {
    async fn run(
        mut self,
        connections: &Connections,
        stop: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let mut publisher = Publisher::open(self.context, &connections.publish).await?;
        let mut consumer =
            QueueConsumer::open(&connections.consume, QUERIES_QUEUE, PREFETCH).await?;
        info!("answering queries");
        let mut not_before = Instant::now();
        loop {
            let deliveries = tokio::select! {
                biased;
                () = stop.cancelled() => return consumer.close().await,
                deliveries = next(&mut consumer, not_before) => deliveries?,
            };
            let (began, count) = (Instant::now(), deliveries.len());
            let last = deliveries.last().map_or(0, |delivery| delivery.delivery_tag);
            let Some(answers) = self.answers(deliveries, stop).await else {
                // What is not acknowledged goes to other workers.
                return consumer.close().await;
            };
            // A refused answer is not retried: its query can be sent again.
            publisher.publish(&answers).await?;
            consumer.acknowledger().ack_through(last).await?;
            if count >= RESTED_MIN {
                not_before = Instant::now() + rest(began.elapsed());
            }
        }
    }

    /// `None` if told to stop before the database answered.
    async fn answers(
        &mut self,
        deliveries: Vec<Delivery>,
        stop: &CancellationToken,
    ) -> Option<Vec<Outgoing>> {
        let mut answers = Vec::new();
        let mut queries: Vec<(Query, Received)> = Vec::new();
        for message in deliveries.into_iter().map(received) {
            match decode_query(&message) {
                Decoded::Input(query) => match self.take(&query) {
                    Ok(()) => queries.push((query, message)),
                    Err(wait) => {
                        let (terminal, id) = (query.terminal.as_str(), query.message_id.as_str());
                        let (limited, now) = (Refusal::later(wait), self.context.clock.now());
                        self.count(Some(&query), QueryOutcome::Refused(limited.code));
                        answers.push(refusal(terminal, Some(id), &limited, &message, now));
                    }
                },
                Decoded::Refused { terminal, refusal: why } => {
                    let (id, now) = (message.usable_message_id(), self.context.clock.now());
                    self.count(None, QueryOutcome::Refused(why.code));
                    answers.push(refusal(terminal.as_str(), id, &why, &message, now));
                }
                Decoded::Dead(reason) => {
                    answers.push(self.context.dead_letter(&message, reason, None));
                }
                Decoded::Probe(_) => {}
            }
        }
        answers.extend(self.read(&queries, stop).await?);
        Some(answers)
    }

    /// Counts a query, or says how long its sender must wait.
    fn take(&mut self, query: &Query) -> Result<(), Duration> {
        match self.context.rates.queries() {
            0 => Ok(()),
            rate => {
                let now = Instant::now();
                self.rate_limit.take(&query.terminal, Urgency::Ordinary, rate, now)
            }
        }
    }

    /// Reads until the database answers, or until told to stop (`None`). Queries that have waited for as
    /// long as the queue keeps them are dropped, as the queue would.
    async fn read(
        &self,
        queries: &[(Query, Received)],
        stop: &CancellationToken,
    ) -> Option<Vec<Outgoing>> {
        let asked: Vec<(&Query, &Received)> =
            queries.iter().map(|(query, message)| (query, message)).collect();
        let until = Instant::now() + Duration::from_millis(QUERY_TTL_MS.unsigned_abs());
        let secrets = self.context.settings.access.as_deref();
        let mut failures = 0;
        while !asked.is_empty() && Instant::now() < until {
            match answer_queries(&self.context.queries, &asked, secrets).await {
                Ok(answered) => {
                    let mut outgoing = Vec::new();
                    for ((query, _), answered) in asked.iter().zip(answered.replies) {
                        let Replied { reply, refused, dead, beside: message } = answered;
                        let outcome = refused.map_or(QueryOutcome::Answered, QueryOutcome::Refused);
                        self.count(Some(query), outcome);
                        if let Some(reason) = dead {
                            self.context.strangers.note(&reply.terminal);
                            outgoing.push(self.context.dead_letter(message, reason, None));
                        }
                        outgoing.push(answer_to_query(reply, message, self.context.clock.now()));
                    }
                    return Some(outgoing);
                }
                Err(error) => {
                    failures += 1;
                    warn!(%error, failures, queries = asked.len(), "queries wait");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(backoff::full_jitter(failures)) => {}
            }
        }
        asked.iter().for_each(|(query, _)| self.count(Some(query), QueryOutcome::Dropped));
        Some(Vec::new())
    }

    /// `None`: it could not be read.
    fn count(&self, query: Option<&Query>, outcome: QueryOutcome) {
        let kind = query.map_or(QueryKind::Unreadable, |query| QueryKind::from(&query.asked));
        self.context.metrics.queries.of(kind, outcome).increment(1);
    }
}

fn rest(took: Duration) -> Duration {
    (took * REST_FACTOR).clamp(REST.0, REST.1)
}

async fn next(
    consumer: &mut QueueConsumer,
    not_before: Instant,
) -> Result<Vec<Delivery>, BrokerError> {
    sleep_until(not_before.into()).await;
    consumer.collect(BATCH_MAX).await
}
