//! What a worker's tasks share.

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

/// Connections besides one per pipeline: relay, sweep, retention, marking wake-ups as scheduled.
const SPARE_CONNECTIONS: usize = 4;

pub struct Context {
    pub settings: Settings,
    pub pool: Pool,
    /// The applied topology.
    pub shape: Shape,
    pub clock: Clock,
    /// Commands per second per terminal and partition; 0: unlimited.
    pub terminal_rate_max: AtomicU32,
    /// Wakes the relay when an operator wrote outbox messages.
    pub outbox_notified: Notify,
    pub outlived: Outlived,
    pub id: Uuid,
}

impl Context {
    /// Fails if the database is unreachable or not set up.
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
            // That terminal could forge wake-ups.
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
