//! What each kind of database account is granted, table by table.

use strum::{EnumString, IntoStaticStr};
use tokio_postgres::{Client, GenericClient};

use super::error::StoreError;
use super::sql;

/// What a database account is for.
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

/// Grants a role the rights of its kind. The name goes into the statement as it stands.
pub(super) async fn grant(
    client: &impl GenericClient,
    name: &str,
    kind: Kind,
) -> Result<(), StoreError> {
    Ok(client.batch_execute(&kind.grants().replace("{role}", name)).await?)
}

/// Grants all recorded roles the rights of their kinds on the schema as it is now.
pub(super) async fn grant_all(client: &Client) -> Result<(), StoreError> {
    for row in client.query(sql!("load_roles"), &[]).await? {
        let kind: &str = row.get("kind");
        let kind = kind
            .parse()
            .map_err(|_| StoreError::Unexpected(format!("database_roles.kind {kind:?}")))?;
        grant(client, row.get("name"), kind).await?;
    }
    Ok(())
}
