//! What a command works with.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::exit::refuse;
use super::output::Output;
use crate::broker::connection::Connection;
use crate::broker::installation::{self, Owner};
use crate::store::{pool, registry};

pub(super) struct Context {
    pub config: Config,
    pub output: Output,
    pub stop: Stop,
}

/// Listens for signals; the first one cancels the token. Only commands that finish their work first
/// call it. A signal ends all others at once.
pub type Stop = fn() -> std::io::Result<CancellationToken>;

impl Context {
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let settings = pool::settings(self.config.database()?);
        let (client, connection) = settings.connect().await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// `purpose` becomes part of the connection's name, for operators.
    pub async fn broker(&self, purpose: &str) -> Result<Connection> {
        Ok(self.config.broker()?.connect(&format!("holdfast {purpose}")).await?)
    }

    /// The same, for what changes something there. Refuses a vhost that belongs to another installation
    /// than this database's.
    pub async fn own_broker(
        &self,
        database: &tokio_postgres::Client,
        purpose: &str,
    ) -> Result<Connection> {
        let connection = self.broker(purpose).await?;
        let id = registry::load_installation(database).await?;
        match installation::owner(&connection, id).await? {
            Owner::This | Owner::Unclaimed => Ok(connection),
            Owner::Other(other) => {
                refuse(installation::belongs_to(self.config.broker()?.vhost(), other, id))
            }
        }
    }

    /// Refuses a vhost that belongs to another installation, for what changes something there over the
    /// management API.
    pub async fn check_owner(&self, database: &tokio_postgres::Client) -> Result<()> {
        Ok(self.own_broker(database, "check").await?.close().await?)
    }
}
