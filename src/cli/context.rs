//! What a command works with.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::output::Output;
use crate::broker::connection::Connection;
use crate::store::admin::audit;
use crate::store::pool;

pub(super) struct Context {
    pub config: Config,
    pub output: Output,
    pub stop: Stop,
}

/// Listens for signals; the first one cancels the token. Only commands that finish their work first
/// call it. A signal ends all others at once.
pub type Stop = fn() -> std::io::Result<CancellationToken>;

impl Context {
    /// A session that makes changes in the operator's name.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let settings = pool::settings(self.config.database()?);
        let (client, connection) = settings.connect().await?;
        tokio::spawn(connection);
        if let Some(operator) = self.config.operator() {
            audit::name_operator(&client, operator).await?;
        }
        Ok(client)
    }

    /// `purpose` becomes part of the connection's name, for operators.
    pub async fn broker(&self, purpose: &str) -> Result<Connection> {
        Ok(self.config.broker()?.connect(&format!("holdfast {purpose}")).await?)
    }
}
