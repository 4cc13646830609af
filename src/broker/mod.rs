//! RabbitMQ: partitions, the delay ladder, replies, events and accounts.
//!
//! It does not use lapin's automatic recovery. The owner of a broken connection drops it, connects,
//! declares and consumes again; a half-recovered channel could acknowledge what was not committed.
//!
//! See `docs/decisions/0013-own-reconnect-and-two-connections.md`.

pub mod accounts;
pub mod connection;
pub mod consumer;
pub mod declare;
pub mod delay;
pub(crate) mod delay_probe;
mod lookup;
pub mod management;
pub mod publisher;
pub(crate) mod removal;
pub mod reply_queues;
pub mod ring;
pub mod sanitize;
mod silence;
pub mod temporary;
pub mod topology;

use std::time::Duration;

use lapin::ErrorKind;

/// Bound on connecting, declaring, opening and closing. lapin has no timeouts of its own.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A failed operation on the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The client library or the broker refused.
    #[error("{operation}: {source}")]
    Amqp {
        /// What was tried.
        operation: String,
        /// Why it failed.
        source: lapin::Error,
    },
    /// An operation took longer than its bound. Its outcome is unknown.
    #[error("{0} timed out")]
    Timeout(String),
    /// A consumer's stream ended: queue deleted, consumer cancelled, or connection lost.
    #[error("the consumer of {0} has ended")]
    ConsumerEnded(String),
    /// The connection broke while an operation waited on it. Its outcome is unknown.
    #[error("{0}: the connection to the broker is lost")]
    ConnectionLost(String),
    /// A text is longer than AMQP's 255 bytes.
    #[error("{0} is too long for AMQP")]
    TooLong(&'static str),
}

impl BrokerError {
    /// The AMQP reply code with which the broker closed the channel or the connection, such as 404.
    pub(crate) fn code(&self) -> Option<u16> {
        let BrokerError::Amqp { source, .. } = self else { return None };
        match source.kind() {
            ErrorKind::ProtocolError(refusal) => Some(refusal.get_id()),
            _ => None,
        }
    }
}

/// Runs one operation within [`OPERATION_TIMEOUT`]; its error names the operation.
pub(crate) async fn bounded<T>(
    operation: impl Into<String>,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    let operation = operation.into();
    match tokio::time::timeout(OPERATION_TIMEOUT, work).await {
        Ok(result) => result.map_err(|source| BrokerError::Amqp { operation, source }),
        Err(_) => Err(BrokerError::Timeout(operation)),
    }
}
