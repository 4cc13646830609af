//! Taking everything off the broker again.

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::connection::Connection;
use super::topology::{self, Shape, reply_queue};
use super::{BrokerError, bounded};

/// AMQP's code for what does not exist.
const NOT_FOUND: u16 = 404;

/// A queue that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundQueue {
    /// Its name.
    pub name: String,
    /// Messages that nobody has in hand.
    pub messages: u32,
    /// Those who read it, and so may have messages in hand.
    pub consumers: u32,
}

/// What is there of an installation.
#[derive(Debug, Default)]
pub struct Found {
    /// Exchanges, by name.
    pub exchanges: Vec<String>,
    /// Queues, those of the terminals' answers included.
    pub queues: Vec<FoundQueue>,
}

/// Looks for everything that an installation of that shape with these terminals has.
pub async fn find(
    connection: &Connection,
    shape: Shape,
    terminals: &[String],
) -> Result<Found, BrokerError> {
    let (exchanges, mut queues) = topology::names(shape);
    queues.extend(terminals.iter().map(|terminal| reply_queue(terminal)));
    let open = || connection.create_channel();
    let mut channel = open().await?;
    let mut found = Found::default();
    for name in exchanges {
        match there(look_for_exchange(&channel, &name).await)? {
            Some(()) => found.exchanges.push(name),
            None => channel = open().await?, // a refusal closes the channel
        }
    }
    for name in queues {
        match there(look_for_queue(&channel, &name).await)? {
            Some(queue) => found.queues.push(queue),
            None => channel = open().await?,
        }
    }
    bounded("closing the channel", channel.close(200, "done".into())).await?;
    Ok(found)
}

/// Deletes what was found: the exchanges first, so that nothing more comes in. What has gone
/// meanwhile is no error.
pub async fn remove(connection: &Connection, found: &Found) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for name in &found.exchanges {
        let options = ExchangeDeleteOptions::default();
        let deleted = channel.exchange_delete(name.as_str().into(), options);
        bounded(format!("deleting exchange {name}"), deleted).await?;
    }
    for FoundQueue { name, .. } in &found.queues {
        // Quorum queues cannot be deleted on the condition that they are empty.
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        bounded(format!("deleting queue {name}"), deleted).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}

/// Whether an exchange of that name is there.
pub(super) async fn has_exchange(connection: &Connection, name: &str) -> Result<bool, BrokerError> {
    let channel = connection.create_channel().await?;
    let found = there(look_for_exchange(&channel, name).await)?.is_some();
    if found {
        bounded("closing the channel", channel.close(200, "done".into())).await?;
    }
    Ok(found)
}

/// `None` for what the broker says does not exist.
fn there<T>(answer: Result<T, BrokerError>) -> Result<Option<T>, BrokerError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(BrokerError::Amqp { source, .. })
            if matches!(source.kind(), ErrorKind::ProtocolError(refusal)
                if refusal.get_id() == NOT_FOUND) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn look_for_exchange(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    // Nothing but the name counts.
    let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
    let declared = channel.exchange_declare(name.into(), kind, options, none);
    bounded(format!("looking for exchange {name}"), declared).await
}

async fn look_for_queue(channel: &Channel, name: &str) -> Result<FoundQueue, BrokerError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(name.into(), options, FieldTable::default());
    let queue = bounded(format!("looking for queue {name}"), declared).await?;
    Ok(FoundQueue {
        name: name.to_owned(),
        messages: queue.message_count(),
        consumers: queue.consumer_count(),
    })
}
