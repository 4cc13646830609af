//! PostgreSQL: the arbiter and the clock of record.
//!
//! # Statements
//!
//! Each statement is a file `sql/<name>.sql`, here or in [`admin`]. A name names one statement, and one
//! place in the program runs it. Only transaction control, session settings, `listen` and `notify` stand in
//! the program. A test checks it (`tests/suite/sql.rs`).
//!
//! `load_*` reads, `lock_*` locks, `insert_*`, `update_*` and `delete_*` write, `claim_*` takes work so
//! that no other replica does, `prune_*` deletes what is old.
//!
//! # Lock order
//!
//! Locks are always taken in this order, so that no two transactions deadlock: servers, reservations, users
//! (each by id), timers, then keys of processed commands (sorted, when they are inserted).

pub mod admin;
pub(crate) mod delivery_attempts;
pub mod error;
pub(crate) mod grants;
pub(crate) mod load;
pub(crate) mod membership;
pub mod migrations;
pub mod needs;
pub(crate) mod outbox;
pub mod pool;
pub mod registry;
pub mod retention;
mod rows;
pub(crate) mod save;
mod sequence;
mod snapshot;
pub(crate) mod timers;
pub mod url;

/// The text of the statement `sql/<name>.sql`, next to the file that uses it.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}
pub(crate) use sql;

/// A struct `Statements` with the named statements, prepared on a connection.
///
/// They are prepared before a pipeline begins: later statements would overtake one that is prepared on the
/// way, and reads would come before the locks they rely on.
macro_rules! statements {
    ($($name:ident),* $(,)?) => {
        struct Statements {
            $($name: tokio_postgres::Statement,)*
        }

        impl Statements {
            async fn prepare(
                client: &deadpool_postgres::ClientWrapper,
            ) -> Result<Self, crate::store::error::StoreError> {
                $(let $name = client
                    .prepare_cached(include_str!(concat!("sql/", stringify!($name), ".sql")))
                    .await?;)*
                Ok(Self { $($name,)* })
            }
        }
    };
}
pub(crate) use statements;
