//! Takes every reply, in order.

use std::collections::VecDeque;
use std::time::Duration;

use lapin::message::Delivery;

use super::error::ClientError;
use super::reply::Reply;
use crate::broker::BrokerError;
use crate::broker::connection::{Connection, Endpoint};
use crate::broker::consumer::{Acknowledger, QueueConsumer};
use crate::broker::topology::reply_queue;

/// Enough for a busy reader; the broker keeps the rest.
const PREFETCH: u16 = 500;

/// A terminal's reply queue. Acknowledges every reply taken.
///
/// Each reply goes to one reader: do not ask for single answers meanwhile.
pub struct Replies {
    connection: Connection,
    consumer: QueueConsumer,
    acknowledger: Acknowledger,
    taken: VecDeque<Reply>,
}

impl Replies {
    /// Reads the account's reply queue on its own connection.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let account = endpoint.account();
        let connection =
            endpoint.connect(&format!("holdfast terminal {account} (replies)")).await?;
        let consumer = QueueConsumer::open(&connection, &reply_queue(account), PREFETCH).await?;
        let acknowledger = consumer.acknowledger();
        Ok(Self { connection, consumer, acknowledger, taken: VecDeque::new() })
    }

    /// The next reply; `None` after `timeout`. Cancel-safe.
    pub async fn next(&mut self, timeout: Duration) -> Result<Option<Reply>, ClientError> {
        if self.taken.is_empty() {
            let Ok(batch) =
                tokio::time::timeout(timeout, self.consumer.collect(PREFETCH.into())).await
            else {
                return Ok(None);
            };
            self.take(batch?).await?;
        }
        Ok(self.taken.pop_front())
    }

    /// Kept before the acknowledgement, so that the next call after a cancelled one returns them.
    async fn take(&mut self, batch: Vec<Delivery>) -> Result<(), BrokerError> {
        let last = batch.last().map(|delivery| delivery.delivery_tag);
        self.taken.extend(batch.into_iter().map(Reply::from_delivery));
        match last {
            Some(last) => self.acknowledger.ack_through(last).await,
            None => Ok(()),
        }
    }

    /// Stops reading.
    pub async fn close(self) -> Result<(), ClientError> {
        self.consumer.close().await?;
        Ok(self.connection.close().await?)
    }
}
