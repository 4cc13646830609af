//! A pipeline's errors.

use crate::broker::BrokerError;
use crate::store::error::StoreError;

/// Why a pipeline ended before `stop`.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The broker or its connection.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The database, outside a batch's transaction (which is retried).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stopped while waiting for the database; the batch returns to the queue.
    #[error("stopped with a batch in hand")]
    Abandoned,
    /// The publishing half ended with its own error.
    #[error("publishing ended")]
    PublishingEnded,
}
