//! Database accounts with the least rights for their work.
//!
//! The migrating account owns the tables. It creates and records the others, so that later migrations grant
//! them rights on what they add.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::{Client, Transaction};

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::grants;
use crate::store::sql;

pub use crate::store::grants::Kind;

/// In bytes; PostgreSQL truncates longer names.
const NAME_LEN_MAX: usize = 63;

/// Whether a text is an account name that needs no quotes in SQL.
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_LEN_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Makes an account that is valid once the transaction is committed. `false`: the name is taken.
///
/// # Panics
///
/// If [`is_name`] refuses `name`.
pub async fn create(
    transaction: &Transaction<'_>,
    name: &str,
    kind: Kind,
    password: &str,
) -> Result<bool, StoreError> {
    assert!(is_name(name), "the caller checks the name");
    if transaction.query_one(sql!("role_exists"), &[&name]).await?.get(0) {
        return Ok(false);
    }
    // Hashed here, to keep the password out of statement logs.
    let hash = scram_sha_256(password.as_bytes());
    let role = sql!("create_role").replace("{role}", name).replace("{hash}", &hash);
    transaction.batch_execute(&role).await?;
    transaction.execute(sql!("insert_role"), &[&name, &kind.as_str()]).await?;
    transaction.batch_execute(sql!("restrict_public")).await?;
    grants::grant(transaction, name, kind).await?;
    Ok(true)
}

/// Gives a recorded account another password, with the transaction's commit. `false`: there is none of
/// this kind.
///
/// # Panics
///
/// If [`is_name`] refuses `name`.
pub async fn update_password(
    transaction: &Transaction<'_>,
    name: &str,
    kind: Kind,
    password: &str,
) -> Result<bool, StoreError> {
    assert!(is_name(name), "the caller checks the name");
    let recorded =
        transaction.query_one(sql!("role_is_recorded"), &[&name, &kind.as_str()]).await?;
    if !recorded.get::<_, bool>(0) {
        return Ok(false);
    }
    let hash = scram_sha_256(password.as_bytes());
    let altered = sql!("alter_role").replace("{role}", name).replace("{hash}", &hash);
    transaction.batch_execute(&altered).await?;
    Ok(true)
}

/// An account that was made here.
#[derive(Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// `worker`, `billing`, `monitor` or `gate`.
    pub kind: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether the database has it still.
    pub exists: bool,
    /// Open sessions.
    pub sessions: i64,
}

/// By kind and name.
pub async fn list(client: &Client) -> Result<Vec<Role>, StoreError> {
    let rows = client.query(sql!("list_roles"), &[]).await?;
    let role = |row: &tokio_postgres::Row| Role {
        name: row.get("name"),
        kind: row.get("kind"),
        created_at: row.get("created_at"),
        exists: row.get("exists"),
        sessions: row.get("sessions"),
    };
    Ok(rows.iter().map(role).collect())
}

/// The outcome of [`remove`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// With the transaction's commit.
    Gone,
    /// There is none of this kind.
    Unknown,
    /// It has so many open sessions.
    InUse(i64),
}

/// Removes a recorded account that has no open session. Its rights on other databases keep it.
///
/// # Panics
///
/// If [`is_name`] refuses `name`.
pub async fn remove(
    transaction: &Transaction<'_>,
    name: &str,
    kind: Kind,
) -> Result<Removed, StoreError> {
    assert!(is_name(name), "the caller checks the name");
    let deleted = transaction.execute(sql!("delete_role"), &[&name, &kind.as_str()]).await?;
    if deleted == 0 {
        return Ok(Removed::Unknown);
    }
    let sessions: i64 = transaction.query_one(sql!("count_sessions"), &[&name]).await?.get(0);
    if sessions > 0 {
        return Ok(Removed::InUse(sessions));
    }
    transaction.batch_execute(&sql!("drop_role").replace("{role}", name)).await?;
    Ok(Removed::Gone)
}
