//! One partition's pipeline.
//!
//! ```text
//! Delivered -> Decoded -> CommittedBatch -> Published -> Acknowledged
//! ```
//!
//! The stages are [`deliver`], [`decode`], [`decide`], [`publish`] and [`acknowledge`]. [`intake`]
//! runs the first three and [`isolate`]s redelivered messages. One batch is published while the
//! next is decided; batches are committed, published and acknowledged in queue order.

mod acknowledge;
mod decide;
mod decode;
mod deliver;
mod error;
mod intake;
mod isolate;
mod publish;
mod recover;
mod stages;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connections::Connections;
use super::context::Context;
use super::publisher::Publisher;
use crate::broker::consumer::QueueConsumer;
use crate::broker::topology::{PREFETCH, partition_queue};
use acknowledge::Acknowledgements;
use deliver::Inbox;
use error::PartitionError;
use intake::Intake;
use publish::Outbound;

/// Consumes a partition until `stop`, then finishes its batches and closes the channel.
pub async fn run(
    context: Arc<Context>,
    connections: Arc<Connections>,
    partition: i32,
    stop: CancellationToken,
) -> Result<(), PartitionError> {
    let answers = Publisher::open(&context, &connections.publish).await?;
    let deferred = Publisher::open(&context, &connections.publish).await?;
    let queue = partition_queue(partition);
    let consumer = QueueConsumer::open(&connections.consume, &queue, PREFETCH).await?;
    context.partitions.consumed(partition);
    let watching = context.clone();
    let _pipeline = watching.tasks.pipeline(partition);
    let acknowledgements = Acknowledgements {
        context: context.clone(),
        partition,
        acknowledger: consumer.acknowledger(),
    };
    let mut inbox = Inbox::new(consumer, context.settings.batch_max);
    // More batches ahead would only be more to lose.
    let (committed_tx, committed_rx) = mpsc::channel(1);
    let outbound = Outbound { context: context.clone(), partition };
    let publishing = outbound.run(answers, deferred, acknowledgements, committed_rx);
    let publishing = tokio::spawn(watched(context.clone(), partition, publishing));
    let decided = Intake::new(context, partition, stop, committed_tx).run(&mut inbox).await;
    let published = publishing.await.unwrap_or(Err(PartitionError::PublishingEnded));
    let closed = inbox.close().await;
    match (decided, published) {
        (_, Err(error)) => Err(error),
        (Err(error), Ok(())) => Err(error),
        (Ok(()), Ok(())) => Ok(closed?),
    }
}

/// A panic there would only end the pipeline.
async fn watched<T>(context: Arc<Context>, partition: i32, work: impl Future<Output = T>) -> T {
    let name = format!("the publishing of partition {partition}");
    context.tasks.watch(&name, work).await
}
