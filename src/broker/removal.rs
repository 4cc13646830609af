//! Deletes an installation's exchanges and queues.

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

use super::connection::Connection;
pub use super::lookup::FoundQueue;
use super::lookup::Lookup;
use super::ring::PARTITIONS_EXCHANGE;
use super::topology::{self, reply_queue};
use super::{BrokerError, bounded};
use crate::message::shape::Shape;

/// What exists of an installation.
#[derive(Debug, Default)]
pub struct Found {
    /// Exchanges, by name.
    pub exchanges: Vec<String>,
    /// Queues, including the terminals' reply queues.
    pub queues: Vec<FoundQueue>,
}

/// Looks up everything of an installation with this shape and these terminals.
pub async fn find(
    connection: &Connection,
    shape: Shape,
    terminals: &[String],
) -> Result<Found, BrokerError> {
    let (mut exchanges, mut queues) = topology::names(shape);
    exchanges.push(PARTITIONS_EXCHANGE.to_owned());
    queues.extend(terminals.iter().map(|terminal| reply_queue(terminal)));
    let mut lookup = Lookup::open(connection).await?;
    let mut found = Found::default();
    for name in exchanges {
        if lookup.has_exchange(&name).await? {
            found.exchanges.push(name);
        }
    }
    for name in queues {
        found.queues.extend(lookup.queue(&name).await?);
    }
    lookup.close().await?;
    Ok(found)
}

/// Deletes exchanges first, so that no more messages arrive. Missing ones are no error.
pub async fn remove(connection: &Connection, found: &Found) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for name in &found.exchanges {
        let options = ExchangeDeleteOptions::default();
        let deleted = channel.exchange_delete(name.as_str().into(), options);
        bounded(format!("deleting exchange {name}"), deleted).await?;
    }
    for FoundQueue { name, .. } in &found.queues {
        // Quorum queues do not support "if empty".
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        bounded(format!("deleting queue {name}"), deleted).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}
