//! Who changed what, and the tariffs that bills name. The database's triggers write both.

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Client, GenericClient, Row};

use crate::domain::id::ServerId;
use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// Most changes, and most tariffs, that are loaded: the latest ones. More than anybody reads.
pub const HISTORY_MAX: i64 = 1_000;

/// A change of what operators set up.
#[derive(Debug, Serialize)]
pub struct Change {
    /// Grows with time.
    pub id: i64,
    /// By the database's clock.
    pub at: Timestamp,
    /// Who, as the session said; else its role.
    pub operator: String,
    /// The session's role.
    pub database_role: String,
    /// What was changed: `server`, `server_closure`, `user` and so on; a CHECK lists them.
    pub kind: String,
    /// Its id; of a closure its server's.
    pub object: String,
    /// `add`, `set`, `move` or `remove`.
    pub action: String,
    /// What it was; of `set` only what differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// As the operator said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A server's rate under one version.
#[derive(Debug, Serialize)]
pub struct TariffLine {
    /// As bills and answers name it.
    pub version: i32,
    /// Minor units per hour.
    pub rate_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// When it began, by the database's clock.
    pub from_at: Timestamp,
}

/// Changes of this session are recorded in the operator's name.
pub async fn name_operator(client: &Client, operator: &str) -> Result<(), StoreError> {
    client.execute(sql!("name_operator"), &[&operator]).await?;
    Ok(())
}

/// Changes of this session are recorded with this reason.
pub async fn name_why(client: &Client, why: &str) -> Result<(), StoreError> {
    client.execute(sql!("name_why"), &[&why]).await?;
    Ok(())
}

/// Records what changes no table, as [`Change`] has it.
pub async fn write(
    client: &impl GenericClient,
    kind: &str,
    object: &str,
    action: &str,
    what: &Value,
) -> Result<(), StoreError> {
    client.execute(sql!("write_audit"), &[&kind, &object, &action, what]).await?;
    Ok(())
}

/// The latest [`HISTORY_MAX`] changes of objects, each a kind and an id, oldest first.
pub async fn load_changes(
    client: &Client,
    objects: &[(&str, &str)],
) -> Result<Vec<Change>, StoreError> {
    let (kinds, ids): (Vec<&str>, Vec<&str>) = objects.iter().copied().unzip();
    let rows = client.query(sql!("load_changes"), &[&kinds, &ids, &HISTORY_MAX]).await?;
    let change = |row: &Row| Change {
        id: row.get("id"),
        at: row.get("at"),
        operator: row.get("operator"),
        database_role: row.get("database_role"),
        kind: row.get("kind"),
        object: row.get("object_id"),
        action: row.get("action"),
        before: row.get("before"),
        after: row.get("after"),
        why: row.get("why"),
    };
    Ok(rows.iter().rev().map(change).collect())
}

/// The latest [`HISTORY_MAX`] tariffs of a server, by version. A server that is gone keeps them.
pub async fn load_tariffs(
    client: &Client,
    server: &ServerId,
) -> Result<Vec<TariffLine>, StoreError> {
    let rows = client.query(sql!("load_tariffs"), &[&server.as_str(), &HISTORY_MAX]).await?;
    let line = |row: &Row| TariffLine {
        version: row.get("version"),
        rate_minor: row.get("rate_minor"),
        currency: row.get("currency"),
        from_at: row.get("from_at"),
    };
    Ok(rows.iter().map(line).collect())
}
