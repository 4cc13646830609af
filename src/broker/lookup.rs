//! Looks up exchanges and queues by passive declarations.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};

use super::connection::Connection;
use super::{BrokerError, bounded};

const NOT_FOUND: u16 = 404;

/// An existing queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundQueue {
    /// Its name.
    pub name: String,
    /// Ready messages, without unacknowledged ones.
    pub messages: u32,
    /// Consumers; they may have unacknowledged messages.
    pub consumers: u32,
}

/// Looks for queues; `None` for each that is missing.
pub(crate) async fn queues(
    connection: &Connection,
    names: &[String],
) -> Result<Vec<Option<FoundQueue>>, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(lookup.queue(name).await?);
    }
    lookup.close().await?;
    Ok(found)
}

pub(crate) struct Lookup<'a> {
    connection: &'a Connection,
    channel: Channel,
}

impl<'a> Lookup<'a> {
    pub(crate) async fn open(connection: &'a Connection) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        Ok(Self { connection, channel })
    }

    pub(crate) async fn has_exchange(&mut self, name: &str) -> Result<bool, BrokerError> {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        // The broker compares only the name.
        let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
        let declared = self.channel.exchange_declare(name.into(), kind, options, none);
        let answer = bounded(format!("looking for exchange {name}"), declared).await;
        Ok(self.found(answer).await?.is_some())
    }

    pub(crate) async fn queue(&mut self, name: &str) -> Result<Option<FoundQueue>, BrokerError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(name.into(), options, FieldTable::default());
        let answer = bounded(format!("looking for queue {name}"), declared).await;
        Ok(self.found(answer).await?.map(|queue| FoundQueue {
            name: name.to_owned(),
            messages: queue.message_count(),
            consumers: queue.consumer_count(),
        }))
    }

    pub(crate) async fn close(self) -> Result<(), BrokerError> {
        bounded("closing the channel", self.channel.close(200, "done".into())).await
    }

    /// `None` for 404.
    async fn found<T>(&mut self, answer: Result<T, BrokerError>) -> Result<Option<T>, BrokerError> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code() == Some(NOT_FOUND) => {
                // The refusal closed the channel.
                *self = Self::open(self.connection).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
