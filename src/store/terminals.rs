//! Terminals as operators see them. They are added in [`super::registry`].

use serde::Serialize;
use tokio_postgres::Client;

use super::error::StoreError;
use crate::domain::id::{TerminalId, UserId};
use crate::domain::interval::Timestamp;

/// A registered terminal.
#[derive(Debug, Serialize)]
pub struct TerminalLine {
    /// Its id, also its broker account's name.
    pub id: String,
    /// The user that it belongs to.
    pub user: String,
    /// Whether its commands are decided.
    pub enabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

/// Terminals by id, of one user or of all.
pub async fn load_terminals(
    client: &Client,
    user: Option<&UserId>,
) -> Result<Vec<TerminalLine>, StoreError> {
    let rows = client
        .query(
            "select id, user_id, enabled, created_at from terminals
             where $1::text is null or user_id = $1 order by id",
            &[&user.map(UserId::as_str)],
        )
        .await?;
    let line = |row: &tokio_postgres::Row| TerminalLine {
        id: row.get("id"),
        user: row.get("user_id"),
        enabled: row.get("enabled"),
        created_at: row.get("created_at"),
    };
    Ok(rows.iter().map(line).collect())
}

/// Disables or enables a terminal, from the next batch of commands on. `false` if there is no such
/// terminal.
pub async fn update_enabled(
    client: &Client,
    terminal: &TerminalId,
    enabled: bool,
) -> Result<bool, StoreError> {
    let statement = "update terminals set enabled = $2 where id = $1";
    Ok(client.execute(statement, &[&terminal.as_str(), &enabled]).await? == 1)
}
