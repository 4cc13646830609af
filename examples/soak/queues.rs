//! How much stands in the queues, without taking anything from them.

use anyhow::{Context as _, Result};
use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{BILLING_QUEUE, DEAD, partition_queue};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;

use crate::installation::SHAPE;

/// Queues in which something would still be on its way.
pub fn transient() -> Vec<String> {
    let partitions = (0..SHAPE.partitions).map(partition_queue);
    let ladder = (0..SHAPE.delay_levels).map(level_name);
    partitions.chain(ladder).chain([BILLING_QUEUE.to_owned()]).collect()
}

/// Where nothing may ever be.
pub const DEAD_LETTERS: &str = DEAD;

/// The queues of `names` that are not empty, with the messages that nobody has in hand.
pub async fn not_empty(connection: &Connection, names: &[String]) -> Result<Vec<(String, u32)>> {
    let channel = connection.create_channel().await?;
    let mut found = Vec::new();
    for name in names {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(name.as_str().into(), options, Default::default());
        let declared = declared.await.with_context(|| format!("looking at {name}"))?;
        if declared.message_count() > 0 {
            found.push((name.clone(), declared.message_count()));
        }
    }
    channel.close(200, "done".into()).await?;
    Ok(found)
}
