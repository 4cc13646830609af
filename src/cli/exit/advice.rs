//! The next step after a failure whose cause lies outside of the command.

use std::error::Error;

use lapin::ErrorKind;
use lapin::protocol::AMQPErrorKind;
use reqwest::StatusCode;
use tokio_postgres::error::SqlState;

use crate::broker::BrokerError;
use crate::broker::management::ManagementError;
use crate::client::ClientError;
use crate::store::error::StoreError;
use crate::tls;

pub(super) const FAILURE: u8 = 1;
pub(super) const CHECK_FAILED: u8 = 3;
pub(super) const AWAY: u8 = 75;
pub(super) const CONFIGURATION: u8 = 78;

/// What a failure means for who typed the command.
pub(super) struct Advice {
    /// Exit code.
    pub code: u8,
    /// Follows the error's text and a semicolon.
    pub next: &'static str,
}

const DATABASE_AWAY: Advice = Advice {
    code: AWAY,
    next: "check that PostgreSQL runs there and can be reached from here, and DATABASE_URL",
};

const BROKER_AWAY: Advice = Advice {
    code: AWAY,
    next: "check that RabbitMQ runs there and can be reached from here, and AMQP_URL",
};

/// `None` if the error says all there is to say.
pub(super) fn of(cause: &(dyn Error + 'static)) -> Option<Advice> {
    if tls::is_untrusted(cause) {
        return Some(Advice {
            code: CONFIGURATION,
            next: "check the host's name in the URL, and the authorities to trust: sslrootcert or cacertfile in \
                   the URL, or else the system's",
        });
    }
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return match (error, error.sql_state()) {
            (StoreError::Postgres(error), _) => of_database(error),
            (StoreError::Unreachable(_) | StoreError::Silent(_), _) => Some(DATABASE_AWAY),
            (_, Some(state)) => of_sql_state(state),
            _ => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<tokio_postgres::Error>() {
        return of_database(error);
    }
    if let Some(ClientError::Broker(error)) = cause.downcast_ref() {
        return of_broker(error);
    }
    if let Some(error) = cause.downcast_ref::<BrokerError>() {
        return of_broker(error);
    }
    of_management(cause.downcast_ref()?)
}

fn of_database(error: &tokio_postgres::Error) -> Option<Advice> {
    match error.code() {
        Some(state) => of_sql_state(state),
        None if postgres_away(error) => Some(DATABASE_AWAY),
        None => None,
    }
}

fn of_sql_state(state: &SqlState) -> Option<Advice> {
    let wrong_account = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    let incomplete =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_FUNCTION];
    let (code, next) = if wrong_account.contains(state) {
        (CONFIGURATION, "check account and password in DATABASE_URL, and pg_hba.conf")
    } else if *state == SqlState::INVALID_CATALOG_NAME {
        (CONFIGURATION, "make the database with `createdb`, or correct DATABASE_URL")
    } else if incomplete.contains(state) {
        (CHECK_FAILED, "the schema is missing or of another version: run `holdfast migrate`")
    } else if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        (CONFIGURATION, "use the account that owns the database in DATABASE_URL")
    } else if *state == SqlState::QUERY_CANCELED {
        (FAILURE, "ask for less, or set another statement_timeout in the options of DATABASE_URL")
    } else if *state == SqlState::LOCK_NOT_AVAILABLE {
        (AWAY, "another transaction holds the lock; nothing was changed, run it again")
    } else {
        return None;
    };
    Some(Advice { code, next })
}

fn of_broker(error: &BrokerError) -> Option<Advice> {
    let BrokerError::Amqp { source, .. } = error else { return None };
    let answer = match source.kind() {
        ErrorKind::IOError(_) => return Some(BROKER_AWAY),
        ErrorKind::ProtocolError(answer) => answer,
        _ => return None,
    };
    let next = match (answer.get_id(), answer.kind()) {
        (403, AMQPErrorKind::Hard(_)) => "check account and password in AMQP_URL",
        // RabbitMQ refuses a login with a soft code on the connection.
        (403, AMQPErrorKind::Soft(_)) => {
            "check account and password in AMQP_URL, and the account's rights on the vhost"
        }
        (530, _) => {
            "check the vhost in AMQP_URL (`rabbitmqctl add_vhost`) and that the account may use it \
             (`rabbitmqctl set_permissions`)"
        }
        _ => return None,
    };
    Some(Advice { code: CONFIGURATION, next })
}

fn of_management(error: &ManagementError) -> Option<Advice> {
    let (code, next) = match error {
        ManagementError::Away { .. } => (
            AWAY,
            "check RABBITMQ_MANAGEMENT_URL, and that the plugin is enabled: `rabbitmq-plugins enable \
             rabbitmq_management`",
        ),
        ManagementError::Refused { status, .. } if *status == StatusCode::UNAUTHORIZED => (
            CONFIGURATION,
            "check account and password in RABBITMQ_MANAGEMENT_URL; the account needs the tag \
             administrator (`rabbitmqctl set_user_tags`)",
        ),
        ManagementError::Refused { .. } => return None,
    };
    Some(Advice { code, next })
}

/// Whether PostgreSQL cannot be reached, or is starting, stopping or full.
pub(super) fn postgres_away(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
        ]
        .contains(code),
        None => {
            let cause = error.source();
            error.is_closed() || cause.is_some_and(|cause| cause.is::<std::io::Error>())
        }
    }
}
