//! Looking at queues from behind the scenes.

use anyhow::{Context as _, Result};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;

/// What stands in a queue.
pub struct Depth {
    /// Messages that nobody has in hand.
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
        lapin::Result::Ok(depth)
    };
    let looked = tokio::time::timeout(holdfast::broker::OPERATION_TIMEOUT, look).await;
    looked.context("the broker does not answer")?.with_context(|| format!("looking at {queue}"))
}
