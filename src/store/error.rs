//! Errors of the store.

use tokio_postgres::error::SqlState;

/// A failed operation on the store. Whoever logs it names the operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL refused a statement, or the connection broke.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The pool had no connection in time.
    #[error("no database connection: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// An operation took longer than its bound; its outcome is unknown.
    #[error("{0} timed out")]
    Timeout(&'static str),
    /// The server is read-only: a standby, or a former primary.
    #[error("the database server is read-only")]
    ReadOnly,
    /// A row contradicts the schema, or changed while locked.
    #[error("unexpected: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// PostgreSQL's error code, if it sent one.
    pub fn sql_state(&self) -> Option<&SqlState> {
        match self {
            StoreError::Postgres(error)
            | StoreError::Pool(deadpool_postgres::PoolError::Backend(error)) => error.code(),
            _ => None,
        }
    }

    /// Whether the operation lost against a concurrent one and was rolled back. It may be retried.
    pub fn is_contention(&self) -> bool {
        self.sql_state().is_some_and(is_contention)
    }

    /// Whether the server is read-only.
    pub fn is_read_only(&self) -> bool {
        matches!(self, StoreError::ReadOnly)
            || self.sql_state() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }

    /// Whether the guard found a user over its quota or with too many holds.
    pub fn is_user_limit(&self) -> bool {
        self.sql_state().is_some_and(|state| matches!(state.code(), "ZR002" | "ZR005"))
    }

    /// PostgreSQL's own message and detail, for people.
    pub fn database_message(&self) -> Option<(&str, Option<&str>)> {
        match self {
            StoreError::Postgres(error) => {
                error.as_db_error().map(|error| (error.message(), error.detail()))
            }
            _ => None,
        }
    }
}

/// Whether a code means contention: a deadlock, a serialization failure or a lock timeout.
pub fn is_contention(state: &SqlState) -> bool {
    let codes = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    codes.contains(state)
}

/// tokio-postgres prints just "db error"; people need the server's message and code.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
