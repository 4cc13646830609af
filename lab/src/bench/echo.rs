//! The ceiling: answers every command at once, with a worker's queues, client library, sizes and
//! settings, and without a database.

use anyhow::{Context as _, Result};
use holdfast::broker::connection::Endpoint;
use holdfast::broker::consumer::{QueueConsumer, received};
use holdfast::broker::publisher::{Outgoing, Publisher};
use holdfast::broker::topology::{PREFETCH, REPLIES_EXCHANGE, partition_queue};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Length of an answer that accepts a request. Scenarios report the real length.
const ANSWER: usize = 499;

/// A worker's largest batch.
const BATCH: usize = PREFETCH as usize / 2;

pub async fn run() -> Result<()> {
    let url = std::env::var("AMQP_URL").context("AMQP_URL")?;
    let endpoint: Endpoint = url.parse().map_err(anyhow::Error::msg)?;
    let partitions: i32 = std::env::var("BENCH_PARTITIONS").context("BENCH_PARTITIONS")?.parse()?;
    let consume = endpoint.connect("echo consume").await?;
    let publish = endpoint.connect("echo publish").await?;
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        let consumer = QueueConsumer::open(&consume, &partition_queue(partition), PREFETCH).await?;
        let publisher = Publisher::open(&publish).await?;
        tasks.spawn(echo(consumer, publisher));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Takes a batch while the one before is being published, as a worker does.
async fn echo(mut consumer: QueueConsumer, mut publisher: Publisher) -> Result<()> {
    let acknowledger = consumer.acknowledger();
    let (out, mut batches) = mpsc::channel::<(Vec<Outgoing>, u64)>(1);
    let publishing = tokio::spawn(async move {
        while let Some((batch, last)) = batches.recv().await {
            publisher.publish(&batch).await?;
            acknowledger.ack_through(last).await?;
        }
        anyhow::Ok(())
    });
    let body = vec![b'x'; ANSWER];
    loop {
        let deliveries = consumer.collect(BATCH).await?;
        let last = deliveries.last().map_or(0, |delivery| delivery.delivery_tag);
        let answers = deliveries.into_iter().map(|delivery| {
            let command = received(delivery);
            let id = command.message_id.unwrap_or_default();
            Outgoing {
                exchange: REPLIES_EXCHANGE.to_owned(),
                routing_key: command.user_id.unwrap_or_default(),
                message_id: id.clone(),
                type_name: "reservation.accepted".to_owned(),
                correlation_id: Some(id),
                content_type: "application/json",
                user_id: None,
                headers: vec![("sent-at", "2031-05-01T12:00:00.000Z".to_owned())],
                body: body.clone(),
                persistent: true,
            }
        });
        if out.send((answers.collect(), last)).await.is_err() {
            return publishing.await?;
        }
    }
}
