//! RabbitMQ: partitions, the delay ladder, answers and events.
//!
//! Absent on purpose: lapin's automatic recovery. A connection that breaks is dropped and its
//! owner connects, declares and consumes anew, so that nothing half-recovered acknowledges money.

pub mod accounts;
pub mod asyncapi;
pub mod bodies;
pub mod canary;
pub mod connection;
pub mod consumer;
pub mod delay;
pub mod headers;
pub mod management;
pub mod publisher;
pub mod removal;
pub mod reply_queues;
pub mod ring;
pub mod screen;
pub mod screened;
mod silence;
pub mod temporary;
pub mod topology;

use std::time::Duration;

/// Bound on connecting, declaring, opening and closing. lapin itself has no timeouts.
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
    /// A step took longer than its bound; its outcome is unknown.
    #[error("{0} timed out")]
    Timeout(String),
    /// A consumer's stream ended: queue deleted, consumer cancelled, or connection lost.
    #[error("the consumer of {0} has ended")]
    ConsumerEnded(String),
    /// The connection broke while a step waited on it; the step's outcome is unknown.
    #[error("{0}: the connection to the broker is lost")]
    ConnectionLost(String),
    /// A text does not fit into AMQP's 255 bytes.
    #[error("{0} is too long for AMQP")]
    TooLong(&'static str),
}

/// Runs one operation within [`OPERATION_TIMEOUT`] and names it in its error.
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
