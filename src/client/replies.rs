//! Taking every reply, in order.

use std::collections::VecDeque;
use std::time::Duration;

use lapin::message::Delivery;

use super::error::ClientError;
use super::reply::Reply;
use crate::broker::BrokerError;
use crate::broker::connection::{Connection, Endpoint};
use crate::broker::consumer::{Acknowledger, QueueConsumer};
use crate::broker::topology::reply_queue;

/// Enough to keep a busy reader busy; more is left to the broker.
const PREFETCH: u16 = 500;

/// A terminal's reply queue, read to the end: every reply is acknowledged when it is taken.
///
/// A queue gives each reply to one reader only, so do not ask for single answers beside it.
pub struct Replies {
    connection: Connection,
    consumer: QueueConsumer,
    acknowledger: Acknowledger,
    taken: VecDeque<Reply>,
}

impl Replies {
    /// Starts to read the reply queue of the endpoint's account, on a connection of its own.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let account = endpoint.account();
        let connection =
            endpoint.connect(&format!("holdfast terminal {account} (replies)")).await?;
        let consumer = QueueConsumer::open(&connection, &reply_queue(account), PREFETCH).await?;
        let acknowledger = consumer.acknowledger();
        Ok(Self { connection, consumer, acknowledger, taken: VecDeque::new() })
    }

    /// The next reply; `None` when none comes within `timeout`. Dropping the future early loses
    /// nothing.
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

    /// Kept before they are acknowledged, so that a caller who stops waiting in between still gets
    /// them from the next call.
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
