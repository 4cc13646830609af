//! Errors of the store.

use deadpool::managed::PoolError;
use tokio_postgres::error::SqlState;

use crate::tls;

/// A failed operation; the caller that logs it names it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A refused statement or a broken connection.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// No pooled connection in time.
    #[error("no database connection: {0}")]
    Pool(String),
    /// No connection.
    #[error("error connecting to the database: {0}")]
    Unreachable(std::io::Error),
    /// A server that accepted a connection did not answer for so many seconds.
    #[error("the database accepts a connection and does not answer within {0} s")]
    Silent(f64),
    /// None of several servers can be used; the source is the most telling of their errors.
    #[error("no database server can be used: {tried}")]
    NoServer {
        /// Each server and its error.
        tried: String,
        /// Whether all refused the account, or could not prove who they are.
        refused: bool,
        /// One of them.
        source: Box<StoreError>,
    },
    /// The session is not set as Holdfast asked for.
    #[error(
        "the database session is not set as asked for: {0}. A connection pooler in between seems to drop \
         the startup parameter \"options\": connect to PostgreSQL directly"
    )]
    Session(String),
    /// Over its time bound; the outcome is unknown.
    #[error("{0} timed out")]
    Timeout(&'static str),
    /// A standby or a former primary.
    #[error("the database server is read-only")]
    ReadOnly,
    /// A row contradicts the schema, or changed while locked.
    #[error("unexpected: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// PostgreSQL's error code, if any.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            StoreError::Postgres(error) => error.code(),
            StoreError::NoServer { source, .. } => source.sql_state(),
            _ => None,
        }
    }

    /// Whether it lost against a concurrent operation, rolled back, and may be retried.
    pub fn is_contention(&self) -> bool {
        self.sql_state().is_some_and(is_contention)
    }

    /// Whether the server refused the account or its password, or could not prove who it is.
    pub fn is_refusal(&self) -> bool {
        let codes = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
        match self {
            StoreError::NoServer { refused, .. } => *refused,
            _ => {
                self.sql_state().is_some_and(|code| codes.contains(code)) || tls::is_untrusted(self)
            }
        }
    }

    /// Whether the server is read-only.
    pub fn is_read_only(&self) -> bool {
        matches!(self, StoreError::ReadOnly)
            || self.sql_state() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether the guard refused for a user's quota or holds.
    pub fn is_user_limit(&self) -> bool {
        self.sql_state().is_some_and(|state| matches!(state.code(), "ZR002" | "ZR005"))
    }

    /// The constraint that a statement would have violated, if any.
    pub fn constraint(&self) -> Option<&str> {
        match self {
            StoreError::Postgres(error) => error.as_db_error()?.constraint(),
            _ => None,
        }
    }

    /// PostgreSQL's message and detail, for people.
    pub fn database_message(&self) -> Option<(&str, Option<&str>)> {
        match self {
            StoreError::Postgres(error) => {
                error.as_db_error().map(|error| (error.message(), error.detail()))
            }
            _ => None,
        }
    }
}

impl From<PoolError<StoreError>> for StoreError {
    fn from(error: PoolError<StoreError>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            error => StoreError::Pool(error.to_string()),
        }
    }
}

/// A deadlock, a serialization failure or a lock timeout.
pub fn is_contention(state: &SqlState) -> bool {
    let codes = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    codes.contains(state)
}

/// tokio-postgres prints only "db error"; people need the server's message and code.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
