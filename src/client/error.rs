//! What can go wrong for a terminal.

use crate::broker::BrokerError;

/// A failed operation of a terminal.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker cannot be reached, or refused. Whether a command that was being sent has arrived
    /// is unknown; sending it again under the same message id is safe.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// No queue takes the command; it went nowhere. So it is after a restart of the broker, until a
    /// worker is back.
    #[error(
        "the broker has no queue for command {0}; if it has just been started, send it again under \
         the same message id once a worker is back; else, was the topology applied?"
    )]
    Unroutable(String),
    /// The broker did not take the command, for example because a queue is full.
    #[error("the broker refused command {0}; send it again later, under the same message id")]
    Refused(String),
}
