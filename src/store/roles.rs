//! Accounts of the database, each with the least that its work takes.
//!
//! Who migrates owns the tables and makes the accounts. They are recorded, so that a migration can
//! give them what they need of a new table.

use postgres_protocol::password::scram_sha_256;
use rand::Rng;
use rand::distr::Alphanumeric;
use strum::{EnumString, IntoStaticStr};
use tokio_postgres::{Client, GenericClient, Transaction};

use super::error::StoreError;

/// Length of generated passwords; 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Deciding and settling.
    Worker,
    /// Reading what was billed.
    Billing,
}

impl Kind {
    /// Its word in the table.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn grants(self) -> &'static str {
        match self {
            Kind::Worker => include_str!("grants/worker.sql"),
            Kind::Billing => include_str!("grants/billing.sql"),
        }
    }
}

/// Whether a text can be an account's name: nothing that would have to be quoted.
pub fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Makes an account and returns its password, or `None` if there is one of this name already. All
/// of it is done, or nothing.
pub async fn create(
    client: &mut Client,
    name: &str,
    kind: Kind,
) -> Result<Option<String>, StoreError> {
    assert!(is_name(name), "checked by whoever asked for it");
    let transaction = client.transaction().await?;
    let taken = "select exists (select from pg_roles where rolname = $1)";
    if transaction.query_one(taken, &[&name]).await?.get(0) {
        return Ok(None);
    }
    let password: String =
        rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect();
    // Hashed here, so that no log of statements has the password.
    let hash = scram_sha_256(password.as_bytes());
    let role = format!(
        "create role {name} login nosuperuser nocreatedb nocreaterole noinherit noreplication
         password '{hash}'"
    );
    transaction.batch_execute(&role).await?;
    let record = "insert into database_roles (name, kind) values ($1, $2)
                  on conflict (name) do update set kind = excluded.kind";
    transaction.execute(record, &[&name, &kind.as_str()]).await?;
    close_to_others(&transaction).await?;
    grant(&transaction, name, kind).await?;
    transaction.commit().await?;
    Ok(Some(password))
}

/// What every account of the cluster may do by default: make temporary tables, and, in a database
/// that was upgraded from PostgreSQL 14, others as well.
async fn close_to_others(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let statement = "do $$ begin
        execute format('revoke temporary on database %I from public', current_database());
        revoke create on schema public from public;
    end $$";
    Ok(transaction.batch_execute(statement).await?)
}

async fn grant(client: &impl GenericClient, name: &str, kind: Kind) -> Result<(), StoreError> {
    Ok(client.batch_execute(&kind.grants().replace("{role}", name)).await?)
}

/// Gives all recorded accounts what they need of the schema as it is now.
pub async fn grant_all(client: &Client) -> Result<(), StoreError> {
    let recorded = "select r.name, r.kind from database_roles r
                    join pg_roles on rolname = r.name order by r.name";
    for row in client.query(recorded, &[]).await? {
        let kind: &str = row.get("kind");
        let kind = kind
            .parse()
            .map_err(|_| StoreError::Unexpected(format!("database_roles.kind {kind:?}")))?;
        grant(client, row.get("name"), kind).await?;
    }
    Ok(())
}
