//! Publishing in batches, with publisher confirms.

use std::collections::HashSet;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};

use super::connection::Connection;
use super::{BrokerError, bounded};

/// Bound on all confirms of a batch. After it their outcome is unknown: a disk alarm delayed them
/// by half a minute.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Exchange.
    pub exchange: String,
    /// Routing key.
    pub routing_key: String,
    /// Identifies returned messages: unique among a batch's messages with different routes.
    pub message_id: String,
    /// `type`.
    pub type_name: String,
    /// Answers: the command's message id.
    pub correlation_id: Option<String>,
    /// Content type.
    pub content_type: &'static str,
    /// The publisher's account, which the broker validates.
    pub user_id: Option<String>,
    /// Headers with text values.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Whether a durable classic queue keeps it across a restart and confirms it only once on disk.
    /// A quorum queue always does.
    pub persistent: bool,
}

/// Result of publishing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In every queue it was routed to.
    Routed,
    /// No queue is bound for this key.
    Unroutable,
    /// Refused, for example by a full queue.
    Refused,
}

/// A channel in confirm mode, for one batch at a time.
pub struct Publisher {
    channel: Channel,
}

impl Publisher {
    /// Opens a channel in confirm mode.
    pub async fn open(connection: &Connection) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        let options = ConfirmSelectOptions::default();
        bounded("asking for publisher confirms", channel.confirm_select(options)).await?;
        Ok(Self { channel })
    }

    /// Publishes all as mandatory and waits for all confirms. After an error every outcome is
    /// unknown.
    pub async fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<Fate>, BrokerError> {
        tokio::time::timeout(CONFIRM_TIMEOUT, self.publish_unbounded(batch))
            .await
            .map_err(|_| BrokerError::Timeout("waiting for publisher confirms".to_owned()))?
    }

    /// Closes the channel. Dropped instead, it is closed later, which a connection that is closed at the
    /// same time reports as an error.
    pub async fn close(self) -> Result<(), BrokerError> {
        bounded("closing the channel", self.channel.close(200, "done".into())).await
    }

    async fn publish_unbounded(&mut self, batch: &[Outgoing]) -> Result<Vec<Fate>, BrokerError> {
        let failed = |source| BrokerError::Amqp { operation: "publishing".to_owned(), source };
        let mut confirms = Vec::with_capacity(batch.len());
        for message in batch {
            let confirm = self
                .channel
                .basic_publish(
                    short("exchange", &message.exchange)?,
                    short("routing key", &message.routing_key)?,
                    BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
                    &message.body,
                    properties(message)?,
                )
                .await
                .map_err(failed)?;
            confirms.push(confirm);
        }
        // lapin pairs returned messages with confirms by order, sometimes wrongly; the message id
        // is reliable.
        let mut returned = HashSet::new();
        let mut acknowledged = Vec::with_capacity(batch.len());
        for confirm in confirms {
            let confirmation = confirm.await.map_err(failed)?;
            acknowledged.push(matches!(confirmation, Confirmation::Ack(_)));
            if let Some(message) = confirmation.take_message()
                && let Some(id) = message.delivery.properties.message_id()
            {
                returned.insert(id.as_str().to_owned());
            }
        }
        let fate = |(message, acknowledged): (&Outgoing, bool)| match acknowledged {
            false => Fate::Refused,
            true if returned.contains(&message.message_id) => Fate::Unroutable,
            true => Fate::Routed,
        };
        Ok(batch.iter().zip(acknowledged).map(fate).collect())
    }
}

/// lapin panics on longer texts, and some derive from input.
fn short(what: &'static str, text: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|_| BrokerError::TooLong(what))
}

fn properties(message: &Outgoing) -> Result<BasicProperties, BrokerError> {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert((*name).into(), AMQPValue::LongString(value.as_str().into()));
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(if message.persistent { PERSISTENT } else { TRANSIENT })
        .with_content_type(message.content_type.into())
        .with_message_id(short("message id", &message.message_id)?)
        .with_type(short("type", &message.type_name)?)
        .with_headers(headers);
    if let Some(id) = &message.correlation_id {
        properties = properties.with_correlation_id(short("correlation id", id)?);
    }
    if let Some(account) = &message.user_id {
        properties = properties.with_user_id(short("account", account)?);
    }
    Ok(properties)
}
