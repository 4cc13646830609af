//! Database accounts with the least rights for their work.
//!
//! The migrating account owns the tables. It creates and records the others, so that later migrations grant
//! them rights on what they add.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Transaction;

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
