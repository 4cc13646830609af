//! How much stands in the queues, without taking anything from them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast::broker::connection::Connection;
use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{BILLING_QUEUE, DEAD, QUERIES_QUEUE, partition_queue};
use holdfast::message::envelope::WAKE_UP_TYPE;
use holdfast::message::shape::Shape;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::AMQPValue;
use tokio::time::timeout;

/// Bound on a look at the queues: the client library has no timeouts.
const PATIENCE: Duration = Duration::from_secs(15);

/// Queues that hold messages only until they are processed.
pub fn transient(shape: Shape) -> Vec<String> {
    empty_at_the_end(shape, false)
}

/// Queues that must be empty at the end. If the database's clock was set back, the ladder is
/// exempt: wake-ups scheduled before that are for times that have passed, and still wait.
pub fn empty_at_the_end(shape: Shape, set_back: bool) -> Vec<String> {
    let partitions = (0..shape.partitions).map(partition_queue);
    let ladder = (0..shape.delay_levels).map(level_name).filter(|_| !set_back);
    let others = [QUERIES_QUEUE, BILLING_QUEUE].map(str::to_owned);
    partitions.chain(ladder).chain(others).collect()
}

/// The queues of `names` that are not empty, with the messages that nobody has in hand.
pub async fn not_empty(connection: &Connection, names: &[String]) -> Result<Vec<(String, u32)>> {
    let looked_at = look(connection, names).await?.into_iter();
    Ok(looked_at.map(|(name, ready, _)| (name, ready)).filter(|(_, ready)| *ready > 0).collect())
}

/// Takes the messages that nobody has in hand out of the queues that are `found`, and returns those that are
/// no wake-ups.
pub async fn but_wake_ups(
    connection: &Connection,
    found: Vec<(String, u32)>,
) -> Result<Vec<(String, u32)>> {
    let mut others = Vec::new();
    for (name, ready) in found {
        let channel = connection.create_channel().await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumed =
            channel.basic_consume(name.as_str().into(), "".into(), options, Default::default());
        let taken = consumed.await?.take(ready.try_into()?).try_collect::<Vec<_>>();
        let taken =
            timeout(PATIENCE, taken).await.with_context(|| format!("emptying {name}"))??;
        channel.close(200, "done".into()).await?;
        let count = taken.iter().filter(|message| !is_wake_up(&message.properties)).count();
        if count > 0 {
            others.push((name, count.try_into()?));
        }
    }
    Ok(others)
}

/// The queues of `names` that somebody reads.
pub async fn consumed(connection: &Connection, names: &[String]) -> Result<Vec<(String, u32)>> {
    let looked_at = look(connection, names).await?.into_iter();
    Ok(looked_at.map(|(name, _, readers)| (name, readers)).filter(|(_, n)| *n > 0).collect())
}

/// Queues with their messages and their readers.
async fn look(connection: &Connection, names: &[String]) -> Result<Vec<(String, u32, u32)>> {
    timeout(PATIENCE, async {
        let channel = connection.create_channel().await?;
        let mut found = Vec::new();
        for name in names {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declared = channel.queue_declare(name.as_str().into(), options, Default::default());
            let declared = declared.await.with_context(|| format!("looking at {name}"))?;
            found.push((name.clone(), declared.message_count(), declared.consumer_count()));
        }
        channel.close(200, "done".into()).await?;
        Ok(found)
    })
    .await
    .context("looking at the queues")?
}

/// A dead letter.
pub struct DeadLetter {
    /// Id of the message that became the dead letter.
    pub id: String,
    /// Whether it is a wake-up that the broker dead-lettered because its partition did not exist.
    pub lost_wake_up: bool,
}

/// Removes and returns all dead letters.
pub async fn dead_letters(connection: &Connection) -> Result<Vec<DeadLetter>> {
    let channel = connection.create_channel().await?;
    let mut letters = Vec::new();
    while let Some(letter) = channel.basic_get(DEAD.into(), Default::default()).await? {
        letters.push(dead_letter(&letter.delivery.properties));
    }
    Ok(letters)
}

/// Workers write a message's id into a header of its dead letter; the broker changes nothing.
fn dead_letter(properties: &BasicProperties) -> DeadLetter {
    let told =
        properties.headers().as_ref().and_then(|h| h.inner().get("original-id")).and_then(text);
    let own = || properties.message_id().as_ref().map(ToString::to_string);
    DeadLetter {
        id: told.or_else(own).unwrap_or_else(|| "without an id".to_owned()),
        lost_wake_up: is_wake_up(properties),
    }
}

fn is_wake_up(properties: &BasicProperties) -> bool {
    properties.kind().as_ref().is_some_and(|kind| kind.as_str() == WAKE_UP_TYPE)
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(text.to_string()),
        _ => None,
    }
}
