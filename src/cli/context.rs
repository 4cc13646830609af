//! What a command works with.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::output::Output;
use crate::broker::connection::Connection;
use crate::store::pool;

/// What a command works with.
pub(super) struct Context {
    pub config: Config,
    pub output: Output,
    pub stop: Stop,
}

/// Starts to listen for signals and returns the token that the first one cancels. Only commands that
/// finish their work first call it; a signal ends all others at once.
pub type Stop = fn() -> std::io::Result<CancellationToken>;

impl Context {
    /// A connection to the database.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let settings = pool::settings(self.config.database()?);
        let (client, connection) = settings.connect().await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A connection to the broker; operators see it under the name of what it is for.
    pub async fn broker(&self, purpose: &str) -> Result<Connection> {
        Ok(self.config.broker()?.connect(&format!("holdfast {purpose}")).await?)
    }
}
