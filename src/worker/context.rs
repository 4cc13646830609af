//! What all parts of a worker share.

use std::sync::atomic::AtomicU32;

use anyhow::{Context as _, Result, bail};
use deadpool_postgres::Pool;
use tokio::sync::Notify;
use uuid::Uuid;

use super::clock::Clock;
use super::outlived::Outlived;
use super::settings::Settings;
use crate::message::shape::Shape;
use crate::store::{migrations, pool, registry};

/// Connections beside those of the pipelines: relay, sweep, retention, and marking what is scheduled.
const SPARE_CONNECTIONS: usize = 4;

/// What all parts of a worker share.
pub struct Context {
    /// Settings.
    pub settings: Settings,
    /// Connections to PostgreSQL.
    pub pool: Pool,
    /// The topology that was applied.
    pub shape: Shape,
    /// The database's clock.
    pub clock: Clock,
    /// Most commands per second that a partition takes from one terminal; 0: no limit.
    pub terminal_rate_max: AtomicU32,
    /// Wakes the relay: an operator has written outbox messages.
    pub outbox_notified: Notify,
    /// Counted attempts at isolated messages that the worker outlived.
    pub outlived: Outlived,
    /// This worker's id.
    pub id: Uuid,
}

impl Context {
    /// Fails when the database cannot be reached or is not set up.
    pub async fn prepare(settings: Settings) -> Result<Self> {
        let pending = migrations::pending(&settings.database).await?;
        if !pending.is_empty() {
            bail!("the database lacks {}; run `holdfast migrate`", pending.join(", "));
        }
        let config = pool::settings(&settings.database);
        let (client, connection) =
            config.connect().await.context("cannot connect to the database")?;
        let driver = tokio::spawn(connection);
        let shape = registry::load_topology(&client)
            .await?
            .context("no topology is recorded; run `holdfast topology apply`")?;
        let account = settings.broker.account();
        if registry::terminal_exists(&client, account).await? {
            // Its wake-ups would be believed.
            bail!(
                "the workers' broker account {account} is also a terminal's; use another account"
            );
        }
        drop(client);
        driver.abort();
        let connections = usize::try_from(shape.partitions).unwrap_or(1) + SPARE_CONNECTIONS;
        Ok(Self {
            pool: pool::open(config, connections),
            settings,
            shape,
            clock: Clock::default(),
            terminal_rate_max: AtomicU32::new(0),
            outbox_notified: Notify::new(),
            outlived: Outlived::default(),
            id: Uuid::new_v4(),
        })
    }
}
