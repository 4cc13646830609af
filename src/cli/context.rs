//! What a command works with.

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::output::Output;
use crate::broker::connection::Connection;
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
    /// With the limits of operators' commands.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let url = self.config.database()?;
        let connected = pool::operator_settings(url).connect().await;
        let (client, connection) =
            connected.with_context(|| format!("cannot connect to {}", url.place()))?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// `purpose` becomes part of the connection's name, for operators.
    pub async fn broker(&self, purpose: &str) -> Result<Connection> {
        Ok(self.config.broker()?.connect(&format!("holdfast {purpose}")).await?)
    }
}
