//! PostgreSQL: the arbiter and the clock of record.
//!
//! # Statements
//!
//! Each statement is a file `sql/<name>.sql`, here or in [`admin`], with a unique name and, unless it only
//! reads (`load_*`), one caller. Only transaction control, session settings, `listen` and `notify` are
//! inline (`tests/suite/sql.rs`).
//!
//! `load_*` reads, `lock_*` locks, `insert_*`, `update_*` and `delete_*` write, `claim_*` takes work that
//! no other replica gets, `notify_*` wakes listeners, `rotate_*` replaces keys, `prune_*`
//! deletes what is old.
//!
//! # Lock order
//!
//! All transactions lock in this order, so that none deadlock: servers, reservations, users (each by id),
//! bounds of quota
//! periods (by start), access keys (by reservation), timers, then keys of processed commands (sorted).

pub mod access;
pub mod admin;
pub(crate) mod admissions;
pub(crate) mod closing;
mod connect;
pub(crate) mod delivery_attempts;
pub mod error;
pub(crate) mod figures;
pub(crate) mod grants;
pub(crate) mod letters;
pub(crate) mod load;
pub(crate) mod membership;
pub mod migrations;
pub(crate) mod moves;
pub mod needs;
pub(crate) mod outbox;
pub(crate) mod outside;
pub mod pool;
pub mod registry;
pub mod retention;
mod rows;
pub(crate) mod save;
mod sequence;
mod session;
mod snapshot;
mod socket;
pub(crate) mod timers;
pub mod url;
pub mod view;

/// The text of `sql/<name>.sql`, next to the calling file.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}
pub(crate) use sql;

/// A struct `Statements`, prepared on a connection before a pipeline begins: later statements would
/// overtake one prepared on the way, and reads would precede their locks.
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
