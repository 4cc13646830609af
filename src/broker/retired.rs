//! What former versions declared.

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use super::connection::Connection;
use super::lookup::Lookup;
use super::topology::{BILLING_PATTERNS, BILLING_QUEUE, EVENTS_EXCHANGE};
use super::{BrokerError, bounded};

/// Exchanges of former versions.
const EXCHANGES: [&str; 3] =
    ["reservation.commands.v1", "reservation.partitions.v1", "reservation.partitions.v2"];

/// What became of it.
#[derive(Debug, Default)]
pub struct Retired {
    /// Deleted.
    pub removed: Vec<String>,
    /// Kept, because they hold messages or have consumers.
    pub kept: Vec<String>,
}

/// Deletes what former versions left of an installation with so many partitions. Queues that are in use
/// are kept.
pub async fn remove(connection: &Connection, partitions: i32) -> Result<Retired, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let mut retired = Retired::default();
    let channel = connection.create_channel().await?;
    for name in EXCHANGES {
        if lookup.has_exchange(name).await? {
            let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
            bounded(format!("deleting exchange {name}"), deleted).await?;
            retired.removed.push(format!("exchange {name}"));
        }
    }
    for partition in 0..partitions {
        let name = format!("reservation.commands.v1.{partition}");
        let Some(queue) = lookup.queue(&name).await? else { continue };
        if queue.messages > 0 || queue.consumers > 0 {
            retired.kept.push(format!("queue {name}"));
            continue;
        }
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        bounded(format!("deleting queue {name}"), deleted).await?;
        retired.removed.push(format!("queue {name}"));
    }
    for pattern in BILLING_PATTERNS {
        // Bills have an exchange of their own; through this one each would come twice.
        let (queue, exchange) = (BILLING_QUEUE.into(), EVENTS_EXCHANGE.into());
        let unbound = channel.queue_unbind(queue, exchange, pattern.into(), FieldTable::default());
        bounded(format!("unbinding queue {BILLING_QUEUE} from {EVENTS_EXCHANGE}"), unbound).await?;
    }
    lookup.close().await?;
    bounded("closing the channel", channel.close(200, "done".into())).await?;
    Ok(retired)
}
