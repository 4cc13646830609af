//! Maps errors to exit codes and texts. The help of `holdfast` lists the codes.
//!
//! An engine that answers with an error is not away, unless it is starting, stopping or full. One that refuses
//! a login, or cannot prove who it is, is an error of the configuration.

mod advice;
mod rules;

use std::error::Error;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError};
use tokio_postgres::error::SqlState;

use super::config::ConfigError;
use crate::broker::BrokerError;
use crate::broker::management::ManagementError;
use crate::client::ClientError;
use crate::gate;
use crate::store::error::StoreError;
use crate::tls;
use crate::worker::patience::Hopeless;
use crate::worker::secrets::OtherSecret;

use advice::{AWAY, CHECK_FAILED, CONFIGURATION, FAILURE, postgres_away};
pub use rules::of_constraint as rule_of_constraint;

const REFUSED: u8 = 4;
const NO_ANSWER: u8 = 5;

/// An outcome with its own exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    CheckFailed(String),
    /// Nothing was changed.
    #[error("refused: {0}")]
    Refused(String),
    #[error("{0}")]
    NoAnswer(String),
    /// No error: the reader closed the output.
    #[error("the output was closed")]
    OutputClosed,
}

/// `message` says why and what to do.
pub(super) fn refuse<T>(message: impl Into<String>) -> anyhow::Result<T> {
    Err(CliError::Refused(message.into()).into())
}

/// An error's exit code.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILURE)
}

fn code_of(cause: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<CliError>() {
        return Some(match error {
            CliError::CheckFailed(_) => CHECK_FAILED,
            CliError::Refused(_) => REFUSED,
            CliError::NoAnswer(_) => NO_ANSWER,
            CliError::OutputClosed => 0,
        });
    }
    if let Some(ClientError::Unroutable(_)) = cause.downcast_ref() {
        return Some(REFUSED);
    }
    if cause.is::<ConfigError>()
        || cause.is::<Hopeless>()
        || cause.is::<gate::Hopeless>()
        || cause.is::<OtherSecret>()
        || matches!(cause.downcast_ref(), Some(StoreError::Session(_)))
        || tls::is_untrusted(cause)
    {
        return Some(CONFIGURATION);
    }
    if is_away(cause) {
        return Some(AWAY);
    }
    advice::of(cause).map(|advice| advice.code)
}

fn is_away(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return match error {
            StoreError::Timeout(_)
            | StoreError::Pool(_)
            | StoreError::Unreachable(_)
            | StoreError::Silent(_)
            | StoreError::ReadOnly => true,
            StoreError::NoServer { source, .. } => is_away(source.as_ref()),
            StoreError::Postgres(error) => postgres_away(error),
            StoreError::Session(_) | StoreError::Unexpected(_) => false,
        };
    }
    if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
        return postgres_away(error);
    }
    if let Some(error) = cause.downcast_ref::<ClientError>() {
        return match error {
            ClientError::Broker(error) => broker_away(error),
            ClientError::Refused(_) => true,
            ClientError::Unroutable(_) => false,
        };
    }
    if let Some(error) = cause.downcast_ref::<BrokerError>() {
        return broker_away(error);
    }
    match cause.downcast_ref() {
        Some(ManagementError::Away { .. }) => true,
        Some(ManagementError::Refused { status, .. }) => status.is_server_error(),
        None => false,
    }
}

fn broker_away(error: &BrokerError) -> bool {
    match error {
        BrokerError::Timeout(_)
        | BrokerError::ConsumerEnded(_)
        | BrokerError::ConnectionLost(_) => true,
        BrokerError::TooLong(_) => false,
        BrokerError::Amqp { source, .. } => match source.kind() {
            ErrorKind::ProtocolError(answer) => {
                matches!(answer.kind(), AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED))
            }
            _ => true,
        },
    }
}

/// An error's text; `None` if the reader closed the output.
pub fn describe(error: &anyhow::Error) -> Option<String> {
    let mut told = Vec::new();
    for cause in error.chain() {
        if matches!(cause.downcast_ref(), Some(CliError::OutputClosed)) {
            return None;
        }
        told.push(cause.to_string());
        // Their texts include their causes.
        if cause.is::<StoreError>() || cause.is::<BrokerError>() || cause.is::<ClientError>() {
            break;
        }
    }
    let next = error.chain().find_map(advice::of).map(|advice| format!("; {}", advice.next));
    Some(told.join(": ") + &next.unwrap_or_default())
}

/// A refusal if the database refused the change; otherwise `error`.
pub(super) fn refusal(error: StoreError) -> anyhow::Error {
    let refused = error.sql_state().is_some_and(|state| {
        state.code().starts_with("ZR")
            || [SqlState::INVALID_PARAMETER_VALUE, SqlState::CHECK_VIOLATION].contains(state)
    });
    if let Some(rule) = error.constraint().and_then(rules::of_constraint) {
        return CliError::Refused(rule.to_owned()).into();
    }
    match error.database_message() {
        Some((message, detail)) if refused => {
            // A CHECK's detail is only the row. A guard's names what is in the way.
            let detail = detail.filter(|_| error.sql_state() != Some(&SqlState::CHECK_VIOLATION));
            let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            CliError::Refused(format!("{message}{detail}")).into()
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn amqp(kind: ErrorKind) -> BrokerError {
        BrokerError::Amqp { operation: "trying".to_owned(), source: kind.into() }
    }

    #[test]
    fn every_kind_of_failure_has_its_code() {
        let io = || Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let errors: [(anyhow::Error, u8); 11] = [
            (anyhow::anyhow!("anything"), 1),
            (CliError::CheckFailed(String::new()).into(), 3),
            (CliError::Refused(String::new()).into(), 4),
            (CliError::NoAnswer(String::new()).into(), 5),
            (CliError::OutputClosed.into(), 0),
            (ConfigError(vec![]).into(), 78),
            (StoreError::Timeout("it").into(), 75),
            (StoreError::Unexpected(String::new()).into(), 1),
            (BrokerError::Timeout(String::new()).into(), 75),
            (amqp(ErrorKind::IOError(io())).into(), 75),
            (ClientError::Unroutable(String::new()).into(), 4),
        ];
        for (error, code) in errors {
            assert_eq!(exit_code(&error), code, "{error:?}");
            assert_eq!(exit_code(&error.context("in context")), code);
        }
        assert_eq!(exit_code(&ClientError::from(amqp(ErrorKind::IOError(io()))).into()), 75);
    }

    #[tokio::test]
    async fn a_database_that_does_not_answer_is_away() {
        // Nothing listens on port 1.
        let url = "postgres://a@127.0.0.1:1/x".parse().unwrap();
        let error = crate::store::migrations::pending(&url).await;
        assert_eq!(exit_code(&error.unwrap_err()), 75);
    }

    #[test]
    fn causes_are_told_once() {
        let error =
            anyhow::Error::from(amqp(ErrorKind::MissingHeartbeatError)).context("verifying");
        let told = describe(&error).unwrap();
        assert_eq!(told.matches("trying").count(), 1, "{told}");
        assert!(told.starts_with("verifying: trying: "), "{told}");
        assert_eq!(describe(&CliError::OutputClosed.into()), None);
    }
}
