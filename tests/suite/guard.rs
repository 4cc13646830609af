//! SQL typed by hand against the guard (P1): it overbooks no server, overruns no quota, revives no cancelled
//! reservation and rewrites no history.

mod access;
mod append_only;
mod capacity;
mod changes;
mod checks;
mod paths;
mod quota;
mod races;
mod recount;

use crate::support::database::Database;

/// A database with the server `cam` and the user `ann`, who has the default quota.
async fn database(capacity: i32) -> Database {
    let database = Database::new().await;
    database.server("cam", capacity, 0).await;
    database.user("ann", None).await;
    database
}
