//! Rights of each kind of database account.

use strum::{EnumString, IntoStaticStr};
use tokio_postgres::{Client, GenericClient};

use super::error::StoreError;
use super::sql;

/// What a database account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Decides and settles.
    Worker,
    /// Reads billing entries.
    Billing,
    /// Reads what `status`, `doctor` and `topology verify` look at.
    Monitor,
    /// Reads who is admitted, and records use.
    Gate,
}

impl Kind {
    /// Its value in `database_roles.kind`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn grants(self) -> &'static str {
        match self {
            Kind::Worker => include_str!("grants/worker.sql"),
            Kind::Billing => include_str!("grants/billing.sql"),
            Kind::Monitor => include_str!("grants/monitor.sql"),
            Kind::Gate => include_str!("grants/gate.sql"),
        }
    }
}

/// `name` goes into the SQL unquoted.
pub(super) async fn grant(
    client: &impl GenericClient,
    name: &str,
    kind: Kind,
) -> Result<(), StoreError> {
    Ok(client.batch_execute(&kind.grants().replace("{role}", name)).await?)
}

/// Grants every recorded role its rights on the current schema.
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
