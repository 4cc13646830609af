//! A terminal's errors.

use crate::broker::BrokerError;

/// A failed terminal operation.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker is unreachable or refused. The command may have arrived; repeating its message id
    /// is safe.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The broker returned the command: its server is unknown. Nothing is stored.
    #[error("no queue takes command {0}: there is no such server, or the topology is not applied")]
    Unroutable(String),
    /// The broker refused the command.
    #[error("the broker refused command {0}; send it again later, under the same message id")]
    Refused(String),
}
