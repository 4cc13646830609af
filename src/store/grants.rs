//! What each kind of database account is granted, table by table.

use tokio_postgres::{Client, GenericClient};

use super::error::StoreError;
use super::sql;

/// What a database account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Deciding and settling.
    Worker,
    /// Reading what was billed.
    Billing,
}

impl Kind {
    /// Its word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Worker => "worker",
            Kind::Billing => "billing",
        }
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
        let kind = match row.get("kind") {
            "worker" => Kind::Worker,
            _ => Kind::Billing,
        };
        grant(client, row.get("name"), kind).await?;
    }
    Ok(())
}
