//! Database accounts with the least rights for their work.
//!
//! The migrating account owns the tables. It creates and records the others, so that later migrations grant
//! them rights on what they add.

use postgres_protocol::password::scram_sha_256;
use rand::Rng;
use rand::distr::Alphanumeric;
use tokio_postgres::Client;

use crate::store::error::StoreError;
use crate::store::grants;
use crate::store::sql;

pub use crate::store::grants::Kind;

/// 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// In bytes; PostgreSQL truncates longer names.
const NAME_LEN_MAX: usize = 63;

/// Whether a text is an account name that needs no quotes in SQL.
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_LEN_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Returns the new account's password; `None` if the name is taken.
///
/// # Panics
///
/// If [`is_name`] refuses `name`.
pub async fn create(
    client: &mut Client,
    name: &str,
    kind: Kind,
) -> Result<Option<String>, StoreError> {
    assert!(is_name(name), "the caller checks the name");
    let transaction = client.transaction().await?;
    if transaction.query_one(sql!("role_exists"), &[&name]).await?.get(0) {
        return Ok(None);
    }
    let password: String =
        rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect();
    // Hashed here, to keep the password out of statement logs.
    let hash = scram_sha_256(password.as_bytes());
    let role = sql!("create_role").replace("{role}", name).replace("{hash}", &hash);
    transaction.batch_execute(&role).await?;
    transaction.execute(sql!("insert_role"), &[&name, &kind.as_str()]).await?;
    transaction.batch_execute(sql!("restrict_public")).await?;
    grants::grant(&transaction, name, kind).await?;
    transaction.commit().await?;
    Ok(Some(password))
}
