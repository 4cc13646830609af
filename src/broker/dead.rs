//! Takes dead letters from their queue.

use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions};

use super::connection::{Connection, Endpoint};
use super::consumer::{header_text, received};
use super::topology::DEAD;
use super::{BrokerError, bounded};
use crate::message::dead_letter::{
    BY_BROKER, DEAD_LETTER_TYPE, DeadLetter, forbidden, header, letter_id,
};
use crate::message::envelope::BODY_LEN_MAX;

/// Takes letters one by one: a connection that breaks returns what was not acknowledged.
pub struct Taker {
    connection: Connection,
    channel: Channel,
}

impl Taker {
    /// Connects as for commands: letters that the broker makes have what a hostile sender put into them.
    pub async fn connect(broker: &Endpoint) -> Result<Self, BrokerError> {
        let connection = broker.connect_for_commands("holdfast dead letters").await?;
        let channel = connection.create_channel().await?;
        Ok(Self { connection, channel })
    }

    /// At most `max` letters, the oldest first, and the last one's delivery tag. Only a letter of one of the
    /// `workers`' accounts is believed to be a worker's.
    pub async fn take(
        &self,
        max: usize,
        workers: impl Fn(&str) -> bool,
    ) -> Result<(Vec<DeadLetter>, u64), BrokerError> {
        let (mut letters, mut last) = (Vec::new(), 0);
        while letters.len() < max {
            let get = self.channel.basic_get(DEAD.into(), BasicGetOptions { no_ack: false });
            let Some(got) = bounded(format!("reading {DEAD}"), get).await? else { break };
            last = got.delivery.delivery_tag;
            letters.push(letter(got.delivery, &workers));
        }
        Ok((letters, last))
    }

    /// Removes all letters up to this tag from the queue.
    pub async fn remove_through(&self, tag: u64) -> Result<(), BrokerError> {
        let ack = self.channel.basic_ack(tag, BasicAckOptions { multiple: true });
        bounded("acknowledging dead letters", ack).await
    }

    /// Closes the connection.
    pub async fn close(self) -> Result<(), BrokerError> {
        self.connection.close().await
    }
}

fn letter(delivery: Delivery, is_workers: &impl Fn(&str) -> bool) -> DeadLetter {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let id = delivery.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
    let message = received(delivery);
    let by_worker = message.user_id.as_deref().is_some_and(is_workers)
        && message.kind.as_deref() == Some(DEAD_LETTER_TYPE);
    let (Some(id), true) = (id, by_worker) else {
        // Its headers are the sender's.
        return DeadLetter {
            id: letter_id(&message),
            reason: BY_BROKER.to_owned(),
            exact: false,
            partition: None,
            account: message.user_id.clone(),
            routing_key: message.routing_key.clone(),
            message_id: message.message_id.clone(),
            kind: message.kind.clone(),
            content_type: message.content_type.clone(),
            content_encoding: message.content_encoding.clone(),
            forbidden: forbidden(&message).map(str::to_owned),
            trace: message.trace.clone(),
            died_at: None,
            body: cut(message.body),
        };
    };
    let text = |name: &str| headers.inner().get(name).and_then(header_text).map(str::to_owned);
    let whole = text(header::CUT).is_none();
    DeadLetter {
        id,
        reason: text(header::REASON).unwrap_or_default(),
        exact: whole,
        partition: text(header::PARTITION).and_then(|partition| partition.parse().ok()),
        account: text(header::ACCOUNT),
        routing_key: text(header::ROUTING_KEY).unwrap_or_default(),
        message_id: text(header::MESSAGE_ID),
        kind: text(header::TYPE),
        content_type: text(header::CONTENT_TYPE),
        content_encoding: text(header::CONTENT_ENCODING),
        forbidden: text(header::FORBIDDEN),
        trace: message.trace,
        died_at: text(header::DIED_AT).and_then(|at| at.parse().ok()),
        body: message.body,
    }
}

fn cut(mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(BODY_LEN_MAX);
    body
}
