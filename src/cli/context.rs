//! What a command works with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::exit::refuse;
use super::output::Output;
use crate::broker::connection::Connection;
use crate::broker::installation::{self, Owner};
use crate::store::admin::audit;
use crate::store::{pool, registry};

pub(super) struct Context {
    pub config: Config,
    pub output: Output,
    pub stop: Stop,
}

/// How signals end the process. The first one lets commands finish that call [`Stop::drain`]; all others end at
/// once.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    drains: Arc<AtomicBool>,
}

impl Stop {
    /// From now on the first signal cancels the token, and the second ends the process.
    pub(super) fn drain(&self) -> CancellationToken {
        self.drains.store(true, Ordering::Release);
        self.token.clone()
    }

    /// Takes note of a signal, and returns whether the process must end now.
    pub fn signal(&self) -> bool {
        let ends = !self.drains.load(Ordering::Acquire) || self.token.is_cancelled();
        self.token.cancel();
        ends
    }
}

impl Context {
    /// A session that makes changes in the operator's name, with the limits of operators' commands.
    pub async fn database(&self) -> Result<tokio_postgres::Client> {
        let url = self.config.database()?;
        let opened = pool::operator_settings(url).open().await;
        let client = opened.with_context(|| format!("cannot connect to {}", url.place()))?;
        if let Some(operator) = self.config.operator() {
            audit::name_operator(&client, operator).await?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_what_does_not_drain() {
        assert!(Stop::default().signal());
        let stop = Stop::default();
        let token = stop.drain();
        assert!(!stop.signal() && token.is_cancelled());
        assert!(stop.signal(), "the second one");
    }
}
