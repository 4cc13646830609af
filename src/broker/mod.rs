//! RabbitMQ: partitions, the delay ladder, replies, events and accounts.
//!
//! lapin's automatic recovery is off: a half-recovered channel could acknowledge uncommitted work.
//! A broken connection's owner drops it, connects, declares and consumes again.
//!
//! See `docs/decisions/0013-own-reconnect-and-two-connections.md`.

pub mod accounts;
pub(crate) mod bindings;
pub mod connection;
pub mod consumer;
pub(crate) mod dead;
pub mod declare;
pub(crate) mod declared;
pub mod delay;
pub(crate) mod delay_probe;
pub(crate) mod depths;
mod effective;
pub(crate) mod inspect;
pub mod installation;
mod listing;
pub(crate) mod lookup;
pub mod management;
pub mod partition_probe;
pub mod policies;
pub mod publisher;
pub(crate) mod removal;
pub mod reply_queues;
pub mod retired;
pub(crate) mod rights;
pub mod routes;
pub mod sanitize;
mod silence;
pub mod temporary;
pub mod topology;

use std::time::Duration;

use lapin::ErrorKind;

use crate::tls;

/// Bound on connecting, declaring, opening and closing; lapin has no timeouts.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// AMQP's code with which the broker refuses an account.
const ACCESS_REFUSED: u16 = 403;

/// A failed broker operation.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// lapin or the broker refused.
    #[error("{operation}: {source}")]
    Amqp {
        /// The operation.
        operation: String,
        /// The cause.
        source: lapin::Error,
    },
    /// The operation exceeded its bound. Its outcome is unknown.
    #[error("{0} timed out")]
    Timeout(String),
    /// Queue deleted, consumer cancelled or connection lost.
    #[error("the consumer of {0} has ended")]
    ConsumerEnded(String),
    /// The connection broke meanwhile. The operation's outcome is unknown.
    #[error("{0}: the connection to the broker is lost")]
    ConnectionLost(String),
    /// A text exceeds AMQP's 255 bytes.
    #[error("{0} is too long for AMQP")]
    TooLong(&'static str),
}

impl BrokerError {
    /// The AMQP code, such as 404, with which the broker closed the channel or connection.
    pub(crate) fn code(&self) -> Option<u16> {
        let BrokerError::Amqp { source, .. } = self else { return None };
        match source.kind() {
            ErrorKind::ProtocolError(refusal) => Some(refusal.get_id()),
            _ => None,
        }
    }

    /// Of a connect's error: whether the broker refused account or password, or could not prove who it is.
    /// Elsewhere access refused is about a right.
    fn refuses_connecting(&self) -> bool {
        self.code() == Some(ACCESS_REFUSED) || tls::is_untrusted(self)
    }
}

/// Whether the broker refused something to an account.
pub(crate) fn is_access_refused(error: &anyhow::Error) -> bool {
    let broker = error.chain().find_map(|cause| cause.downcast_ref::<BrokerError>());
    broker.is_some_and(|error| error.code() == Some(ACCESS_REFUSED))
}

/// Bounds one operation by [`OPERATION_TIMEOUT`]; errors name the operation.
pub(crate) async fn bounded<T>(
    operation: impl Into<String>,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    bounded_by(OPERATION_TIMEOUT, operation, work).await
}

/// Bounds one operation; errors name the operation.
pub(crate) async fn bounded_by<T>(
    limit: Duration,
    operation: impl Into<String>,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    let operation = operation.into();
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|source| BrokerError::Amqp { operation, source }),
        Err(_) => Err(BrokerError::Timeout(operation)),
    }
}
