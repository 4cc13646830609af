//! Inspects queues without consuming from them.

use anyhow::{Context as _, Result};
use holdfast::broker::connection::Connection;
use holdfast::broker::consumer::QueueConsumer;
use holdfast::broker::delay::{DUE_EXCHANGE, partition_pattern};
use holdfast::broker::{OPERATION_TIMEOUT, temporary};
use holdfast::domain::interval::Timestamp;
use holdfast::message::wake_up;
use lapin::options::QueueDeclareOptions;

const PREFETCH: u16 = 100;

/// Counts of a queue.
pub struct Depth {
    /// Messages that are ready.
    pub ready: u32,
    pub consumers: u32,
}

pub async fn depth(connection: &Connection, queue: &str) -> Result<Depth> {
    let look = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), options, Default::default()).await?;
        let depth = Depth { ready: declared.message_count(), consumers: declared.consumer_count() };
        channel.close(200, "done".into()).await?;
        anyhow::Ok(depth)
    };
    let looked = tokio::time::timeout(OPERATION_TIMEOUT, look).await;
    looked.context("the broker does not answer")?.with_context(|| format!("looking at {queue}"))
}

/// Copies of the wake-ups that come out of the delay ladder for a partition.
pub struct WakeUps {
    consumer: QueueConsumer,
    /// Number of wake-ups so far.
    pub seen: u32,
}

impl WakeUps {
    pub async fn watch(connection: &Connection, partition: i32) -> Result<Self> {
        let pattern = partition_pattern(partition);
        let queue = temporary::declare(connection, DUE_EXCHANGE, &[&pattern]).await?;
        let consumer = QueueConsumer::open(connection, &queue, PREFETCH).await?;
        Ok(Self { consumer, seen: 0 })
    }

    /// Waits for the wake-up of a deadline.
    pub async fn arrival(&mut self, due_at: Timestamp) -> Result<()> {
        loop {
            for delivery in self.consumer.collect(1).await? {
                self.seen += 1;
                self.consumer.acknowledger().ack_through(delivery.delivery_tag).await?;
                if wake_up::decode(&delivery.data).is_some_and(|wake_up| wake_up.due_at == due_at) {
                    return Ok(());
                }
            }
        }
    }
}
