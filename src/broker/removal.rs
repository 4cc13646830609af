//! Deletes an installation's exchanges and queues.

use std::ops::Range;

use lapin::Channel;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use uuid::Uuid;

use super::connection::Connection;
use super::installation;
pub use super::lookup::FoundQueue;
use super::lookup::Lookup;
use super::topology::{self, partition_queue, reply_queue};
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
    installation: Uuid,
    shape: Shape,
    terminals: &[String],
) -> Result<Found, BrokerError> {
    let (mut exchanges, mut queues) = topology::names(shape);
    exchanges.extend(installation::names(installation));
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

/// Deletes exchanges first, so that no more messages arrive, and the owner's mark last. Missing ones are no
/// error.
pub async fn remove(connection: &Connection, found: &Found) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    let (marks, exchanges): (Vec<&String>, Vec<&String>) =
        found.exchanges.iter().partition(|name| name.ends_with(installation::MARK));
    for name in exchanges {
        delete_exchange(&channel, name).await?;
    }
    for FoundQueue { name, .. } in &found.queues {
        // Quorum queues do not support "if empty".
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        bounded(format!("deleting queue {name}"), deleted).await?;
    }
    for name in marks {
        delete_exchange(&channel, name).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}

async fn delete_exchange(channel: &Channel, name: &str) -> Result<(), BrokerError> {
    let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
    bounded(format!("deleting exchange {name}"), deleted).await
}

/// The first of these partitions' queues in which messages wait or are in hand.
pub async fn check_partitions_empty(
    connection: &Connection,
    partitions: Range<i32>,
) -> Result<Option<String>, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let mut used = None;
    for partition in partitions {
        let queue = lookup.queue(&partition_queue(partition)).await?;
        used = used.or(queue.filter(|queue| queue.messages > 0).map(|queue| queue.name));
    }
    lookup.close().await?;
    Ok(used)
}

/// Deletes the queues of partitions that are empty for good.
pub async fn remove_partitions(
    connection: &Connection,
    partitions: Range<i32>,
) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for partition in partitions {
        let name = partition_queue(partition);
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        bounded(format!("deleting queue {name}"), deleted).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}
