//! A terminal's errors.

use crate::broker::BrokerError;

/// A failed terminal operation.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker is unreachable or refused. The command may have arrived; repeating its message id
    /// is safe.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// No queue took the command: normal after a broker restart, until a worker is back.
    #[error(
        "the broker has no queue for command {0}; if it has just been started, send it again under \
         the same message id once a worker is back; else, was the topology applied?"
    )]
    Unroutable(String),
    /// The broker refused the command.
    #[error("the broker refused command {0}; send it again later, under the same message id")]
    Refused(String),
}
