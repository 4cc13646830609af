//! Terminals.

use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row};

use crate::domain::id::{TerminalId, UserId};
use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// A registered terminal.
#[derive(Debug, Serialize)]
pub struct TerminalLine {
    /// Id, also its broker account's name.
    pub id: String,
    /// Its user's id.
    pub user: String,
    /// Whether its commands are decided.
    pub enabled: bool,
    /// Time of registration.
    pub created_at: Timestamp,
}

/// The outcome of [`insert_terminal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalAdded {
    /// Added.
    New,
    /// This user has it already.
    Exists,
    /// Another user has it.
    Taken,
    /// Unknown user.
    UnknownUser,
}

/// Adds a terminal to a user.
pub async fn insert_terminal(
    client: &impl GenericClient,
    terminal: &TerminalId,
    user: &UserId,
) -> Result<TerminalAdded, StoreError> {
    let (terminal, user) = (terminal.as_str(), user.as_str());
    if !client.query_one(sql!("user_exists"), &[&user]).await?.get::<_, bool>(0) {
        return Ok(TerminalAdded::UnknownUser);
    }
    if client.execute(sql!("insert_terminal"), &[&terminal, &user]).await? == 1 {
        return Ok(TerminalAdded::New);
    }
    let row = client.query_one(sql!("load_terminal_user"), &[&terminal]).await?;
    Ok(match row.get::<_, &str>(0) == user {
        true => TerminalAdded::Exists,
        false => TerminalAdded::Taken,
    })
}

/// Terminals by id, of one user or all.
pub async fn list_terminals(
    client: &Client,
    user: Option<&UserId>,
) -> Result<Vec<TerminalLine>, StoreError> {
    let rows = client.query(sql!("list_terminals"), &[&user.map(UserId::as_str)]).await?;
    let line = |row: &Row| TerminalLine {
        id: row.get("id"),
        user: row.get("user_id"),
        enabled: row.get("enabled"),
        created_at: row.get("created_at"),
    };
    Ok(rows.iter().map(line).collect())
}

/// Takes effect with the next batch. `false`: unknown terminal.
pub async fn update_enabled(
    client: &Client,
    terminal: &TerminalId,
    enabled: bool,
) -> Result<bool, StoreError> {
    Ok(client.execute(sql!("update_enabled"), &[&terminal.as_str(), &enabled]).await? == 1)
}
