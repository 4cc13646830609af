//! SQL typed by hand against the database's own guard (P1): whatever is typed, nothing is
//! overbooked, no quota is overrun, no reservation comes back to life and no history is rewritten.

mod append_only;
mod capacity;
mod changes;
mod checks;
mod paths;
mod quota;
mod races;

use crate::support::database::Database;

/// A database with the server `cam` and the user `ann`, who has no quota to speak of.
async fn database(capacity: i32) -> Database {
    let database = Database::new().await;
    database.server("cam", capacity, 0).await;
    database.user("ann", None).await;
    database
}
