//! Takes single answers from a reply queue.

use std::time::Duration;

use lapin::message::Delivery;
use tokio::time::{Instant, timeout_at};

use super::reply::Reply;
use crate::broker::BrokerError;
use crate::broker::connection::{Connection, Endpoint};
use crate::broker::consumer::QueueConsumer;
use crate::broker::topology::{REPLY_LEN_MAX, reply_queue};

/// Other replies stay unacknowledged. The window must pass a full queue, and as many again that
/// arrive meanwhile.
const PREFETCH: u16 = 20_000;
const _: () = assert!(PREFETCH as i64 >= 2 * REPLY_LEN_MAX);

/// A searched reply queue. Closing requeues the rest in order.
pub(super) struct Mailbox {
    connection: Connection,
    consumer: QueueConsumer,
    /// Seen, unacknowledged, perhaps asked for later.
    held: Vec<Delivery>,
}

impl Mailbox {
    /// Reads the account's reply queue on its own connection: a broker that blocks the publishing
    /// one must not delay acknowledgements.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, BrokerError> {
        let account = endpoint.account();
        let connection =
            endpoint.connect(&format!("holdfast terminal {account} (replies)")).await?;
        let consumer = QueueConsumer::open(&connection, &reply_queue(account), PREFETCH).await?;
        Ok(Self { connection, consumer, held: Vec::new() })
    }

    /// Waits for the answer to `message_id` and acknowledges it. `None` on timeout; a later call
    /// can still get it.
    pub async fn answer_to(
        &mut self,
        message_id: &str,
        timeout: Duration,
    ) -> Result<Option<Reply>, BrokerError> {
        let deadline = Instant::now() + timeout;
        let is_answer = |delivery: &Delivery| {
            let id = delivery.properties.correlation_id().as_ref();
            id.is_some_and(|id| id.as_str() == message_id)
        };
        if let Some(index) = self.held.iter().position(is_answer) {
            let held = self.held.remove(index);
            return self.take(held).await.map(Some);
        }
        while let Ok(batch) = timeout_at(deadline, self.consumer.collect(1)).await {
            for delivery in batch? {
                if is_answer(&delivery) {
                    return self.take(delivery).await.map(Some);
                }
                self.held.push(delivery);
            }
        }
        Ok(None)
    }

    /// Stops reading.
    pub async fn close(self) -> Result<(), BrokerError> {
        self.consumer.close().await?;
        self.connection.close().await
    }

    async fn take(&self, delivery: Delivery) -> Result<Reply, BrokerError> {
        self.consumer.acknowledger().ack_one(delivery.delivery_tag).await?;
        Ok(Reply::from_delivery(delivery))
    }
}
