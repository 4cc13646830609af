//! Why a partition's pipeline ends early.

use crate::broker::BrokerError;
use crate::store::error::StoreError;

/// Why a pipeline ended before `stop`.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database, outside of a batch's transaction (there it is waited for).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Told to stop while waiting for the database: what is in hand goes back to the queue.
    #[error("stopped with a batch in hand")]
    Abandoned,
    /// The publishing half is gone; its own error says why.
    #[error("publishing ended")]
    PublishingEnded,
}
