//! Probes the way into each partition's queue, through its worker, and back.
//!
//! A probe enters where wake-ups do, so no terminal can send one. Its worker answers it, without the database,
//! and does nothing else about it. The answer goes to a queue that ends with this connection.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::BrokerError;
use super::connection::Connection;
use super::consumer::QueueConsumer;
use super::delay::{DUE_EXCHANGE, partition_word};
use super::publisher::{Fate, Outgoing, Publisher};
use super::temporary;
use super::topology::REPLIES_EXCHANGE;
use crate::message::envelope::PROBE_TYPE;

/// How long answers are awaited. A partition's backlog is decided first, some thousands of messages a second.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers that are taken at once.
const ANSWERS_MAX: u16 = 256;

/// What became of a partition's probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered after this long.
    Answered(Duration),
    /// No queue took it.
    Unroutable,
    /// The queue is full.
    Refused,
    /// No answer in time. The probe is still in the queue, where it does no harm.
    Silent,
}

/// Routing key of the answer to a probe. No terminal's id has a dot.
pub fn answer_key(probe: Uuid) -> String {
    format!("{PROBE_TYPE}.{probe}")
}

/// Sends a probe to each of these partitions, and waits for the answers, for [`TIMEOUT`] at most.
pub async fn send(
    connection: &Connection,
    partitions: &[i32],
) -> Result<Vec<(i32, Outcome)>, BrokerError> {
    let ids: Vec<Uuid> = partitions.iter().map(|_| Uuid::new_v4()).collect();
    let keys: Vec<String> = ids.iter().map(|id| answer_key(*id)).collect();
    let patterns: Vec<&str> = keys.iter().map(String::as_str).collect();
    let queue = temporary::declare(connection, REPLIES_EXCHANGE, &patterns).await?;
    let mut consumer = QueueConsumer::open(connection, &queue, ANSWERS_MAX).await?;
    let probes: Vec<Outgoing> =
        partitions.iter().zip(&ids).map(|(partition, id)| probe(*partition, *id)).collect();
    let mut publisher = Publisher::open(connection).await?;
    let sent = Instant::now();
    let fates = publisher.publish(&probes).await?;
    publisher.close().await?;
    let expected = fates.iter().filter(|fate| **fate == Fate::Routed).count();
    let answered = collect(&mut consumer, expected, sent).await?;
    consumer.close().await?;
    let outcome = |(id, fate): (&Uuid, Fate)| match fate {
        Fate::Unroutable => Outcome::Unroutable,
        Fate::Refused => Outcome::Refused,
        Fate::Routed => {
            answered.get(&answer_key(*id)).copied().map_or(Outcome::Silent, Outcome::Answered)
        }
    };
    let outcomes = ids.iter().zip(fates).map(outcome);
    Ok(partitions.iter().copied().zip(outcomes).collect())
}

/// Answers by routing key, each with the time since the probes were sent.
async fn collect(
    consumer: &mut QueueConsumer,
    expected: usize,
    sent: Instant,
) -> Result<HashMap<String, Duration>, BrokerError> {
    let mut answered = HashMap::new();
    while answered.len() < expected {
        let next = timeout_at(sent + TIMEOUT, consumer.collect(ANSWERS_MAX.into())).await;
        let Ok(answers) = next else { break };
        let after = sent.elapsed();
        for answer in answers? {
            answered.entry(answer.routing_key.as_str().to_owned()).or_insert(after);
            consumer.acknowledger().ack_one(answer.delivery_tag).await?;
        }
    }
    Ok(answered)
}

fn probe(partition: i32, id: Uuid) -> Outgoing {
    Outgoing {
        exchange: DUE_EXCHANGE.to_owned(),
        routing_key: partition_word(partition),
        message_id: id.to_string(),
        type_name: PROBE_TYPE.to_owned(),
        correlation_id: None,
        content_type: "application/octet-stream",
        user_id: None,
        headers: Vec::new(),
        body: Vec::new(),
        persistent: false,
    }
}
