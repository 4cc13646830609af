//! PostgreSQL: the arbiter and the clock of record.
//!
//! Naming: `load_*` reads, `lock_*` locks and reads, `insert_*`/`update_*`/`delete_*` write what
//! their name says, `claim_*` takes work so that nobody else does. Statements stand whole in
//! `sql/`, one file each, under the function's name.
//!
//! Locks are always taken in this order: servers, reservations, users (each by id), then wake-ups,
//! then request keys (sorted, by their insertion). Whoever follows it cannot deadlock.

pub mod announce;
pub mod batch;
pub mod cancellation;
pub mod closures;
pub mod delivery_attempts;
pub mod error;
pub mod ledger;
pub mod load;
pub mod membership;
pub mod migrations;
pub mod outbox;
pub mod policy;
pub mod pool;
pub mod registry;
pub mod reports;
pub mod reservations;
pub mod retention;
pub mod roles;
pub mod save;
pub mod servers;
pub mod terminals;
pub mod timers;
pub mod url;
pub mod users;

/// The text of the statement `sql/<name>.sql`.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("sql/", $name, ".sql"))
    };
}
pub(crate) use sql;

/// A struct `Statements` with the named statements, prepared or found prepared on a connection.
///
/// Done before a pipeline begins: a statement that had to be prepared on the way would be overtaken
/// by those behind it, and reads would come before the locks they rely on.
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
