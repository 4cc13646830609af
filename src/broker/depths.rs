//! How many messages wait in Holdfast's queues, at once: the management API is up to five seconds behind.

use super::BrokerError;
use super::connection::Connection;
use super::lookup::{FoundQueue, Lookup};
use super::topology::{BILLING_QUEUE, DEAD, QUERIES_QUEUE, partition_queue};

/// Most partitions of an installation.
const PARTITIONS_MAX: i32 = 256;

/// Ready messages and consumers; `None`: the queue does not exist.
#[derive(Debug, Clone, Default)]
pub struct Depths {
    /// By number.
    pub partitions: Vec<Option<FoundQueue>>,
    /// The queries' queue.
    pub queries: Option<FoundQueue>,
    /// The billing system's queue.
    pub billing: Option<FoundQueue>,
    /// Dead letters.
    pub dead: Option<FoundQueue>,
}

/// Looks at the queues. Any account of the vhost may. With `partitions` unknown it goes on to the first that
/// is missing.
pub async fn look(connection: &Connection, partitions: Option<i32>) -> Result<Depths, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let mut depths = Depths {
        queries: lookup.queue(QUERIES_QUEUE).await?,
        billing: lookup.queue(BILLING_QUEUE).await?,
        dead: lookup.queue(DEAD).await?,
        partitions: Vec::new(),
    };
    for partition in 0..partitions.unwrap_or(PARTITIONS_MAX) {
        let queue = lookup.queue(&partition_queue(partition)).await?;
        if queue.is_none() && partitions.is_none() {
            break;
        }
        depths.partitions.push(queue);
    }
    lookup.close().await?;
    Ok(depths)
}
