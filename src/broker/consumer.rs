//! Consuming one partition.

use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;

use super::connection::{Connection, Liveness};
use super::delay::DUE_EXCHANGE;
use super::{BrokerError, bounded};
use crate::domain::interval::Timestamp;
use crate::domain::trace::Trace;
use crate::message::envelope::{ENQUEUED_HEADER, Received, TRACEPARENT, TRACESTATE};

/// The consumer of one queue, on its own channel.
pub struct QueueConsumer {
    queue: String,
    channel: Channel,
    consumer: Consumer,
    liveness: Liveness,
}

/// Acknowledges on a consumer's channel while others read from it.
#[derive(Clone)]
pub struct Acknowledger(Channel);

impl QueueConsumer {
    /// Starts consuming; `prefetch` in messages.
    pub async fn open(
        connection: &Connection,
        queue: &str,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        let unclaimed = Unclaimed(Some(channel.clone()));
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        bounded("setting the prefetch window", qos).await?;
        let consumer = bounded(
            format!("consuming {queue}"),
            channel.basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            ),
        )
        .await?;
        unclaimed.claim();
        Ok(Self { queue: queue.to_owned(), channel, consumer, liveness: connection.liveness() })
    }

    /// Waits for one message and adds those that have arrived, up to `max` in all, without
    /// lingering. Fails once the connection is lost, even if lapin does not end the stream.
    pub async fn collect(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        let first = tokio::select! {
            biased;
            first = self.consumer.next() => first,
            () = self.liveness.ended() => None,
        };
        let mut batch = vec![self.one(first)?];
        while batch.len() < max {
            match self.consumer.next().now_or_never() {
                Some(next) => batch.push(self.one(next)?),
                None => break,
            }
        }
        Ok(batch)
    }

    /// The stream's end is an error, even while the channel looks fine.
    fn one(&self, next: Option<lapin::Result<Delivery>>) -> Result<Delivery, BrokerError> {
        match next {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(source)) => {
                Err(BrokerError::Amqp { operation: format!("consuming {}", self.queue), source })
            }
            None => Err(BrokerError::ConsumerEnded(self.queue.clone())),
        }
    }

    /// A handle for acknowledgements.
    pub fn acknowledger(&self) -> Acknowledger {
        Acknowledger(self.channel.clone())
    }

    /// Closes the channel: unlike cancelling, this requeues unacknowledged messages in order before
    /// the next consumer gets any. See `docs/decisions/0001-queue-order-is-decision-order.md`.
    pub async fn close(self) -> Result<(), BrokerError> {
        let work = self.channel.close(200, "letting go".into());
        bounded(format!("letting go of {}", self.queue), work).await
    }
}

/// Closes its channel unless claimed. A `basic.consume` that timed out may still have succeeded and
/// made this channel the active consumer. Nobody would read its deliveries, and the next consumer
/// would wait as long as the connection lasts.
struct Unclaimed(Option<Channel>);

impl Unclaimed {
    fn claim(mut self) {
        self.0 = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let (Some(channel), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        // The broker handles it after any consume on its way.
        runtime.spawn(async move {
            let closing = channel.close(200, "given up".into());
            bounded("giving up a channel", closing).await
        });
    }
}

impl Acknowledger {
    /// Acknowledges everything through `delivery_tag`. After a crash the broker may redeliver all
    /// the same.
    pub async fn ack_through(&self, delivery_tag: u64) -> Result<(), BrokerError> {
        let options = BasicAckOptions { multiple: true };
        bounded("acknowledging", self.0.basic_ack(delivery_tag, options)).await
    }

    /// Acknowledges only this message.
    pub async fn ack_one(&self, delivery_tag: u64) -> Result<(), BrokerError> {
        let options = BasicAckOptions { multiple: false };
        bounded("acknowledging", self.0.basic_ack(delivery_tag, options)).await
    }
}

/// Converts a delivery from lapin's types.
pub fn received(delivery: Delivery) -> Received {
    let properties = &delivery.properties;
    let headers = properties.headers().clone().unwrap_or_default();
    let text =
        |value: &Option<lapin::types::ShortString>| value.as_ref().map(|v| v.as_str().to_owned());
    let header = |name| headers.inner().get(name).and_then(header_text);
    let mut forbidden_properties = Vec::new();
    if properties.priority().is_some() {
        forbidden_properties.push("priority");
    }
    if properties.expiration().is_some() {
        forbidden_properties.push("expiration");
    }
    Received {
        routing_key: delivery.routing_key.as_str().to_owned(),
        user_id: text(properties.user_id()),
        message_id: text(properties.message_id()),
        kind: text(properties.kind()),
        content_type: text(properties.content_type()),
        content_encoding: text(properties.content_encoding()),
        forbidden_properties,
        header_names: headers.inner().keys().map(|name| name.as_str().to_owned()).collect(),
        trace: Trace::read(header(TRACEPARENT), header(TRACESTATE)),
        enqueued_at: headers
            .inner()
            .get(ENQUEUED_HEADER)
            .and_then(|value| Timestamp::from_timestamp_millis(header_integer(value)?)),
        from_ladder: delivery.exchange.as_str() == DUE_EXCHANGE,
        // On a first delivery the publisher set this header.
        delivery_count: match headers.inner().get("x-delivery-count") {
            Some(value) if delivery.redelivered => header_number(value),
            _ => 0,
        },
        redelivered: delivery.redelivered,
        replay_of: None,
        body: delivery.data,
    }
}

/// The value of a text header.
pub(crate) fn header_text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

fn header_number(value: &AMQPValue) -> u64 {
    header_integer(value).and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn header_integer(value: &AMQPValue) -> Option<i64> {
    Some(match value {
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => return None,
    })
}
