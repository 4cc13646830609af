//! What a worker's tasks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::store::pool::Pool;
use anyhow::{Context as _, Result, bail};
use tokio::sync::Notify;
use tracing::{info, warn};
use uuid::Uuid;

use super::accounts::WorkerAccounts;
use super::clock::Clock;
use super::figures::Figures;
use super::health::check::Checks;
use super::health::tasks::Tasks;
use super::leads::Leads;
use super::metrics::Metrics;
use super::outgoing::dead_letter;
use super::outlived::Outlived;
use super::partitions::Partitions;
use super::secrets;
use super::settings::Settings;
use super::strangers::Strangers;
use super::throughput::Throughput;
use crate::broker::publisher::Outgoing;
use crate::message::envelope::{DeadReason, Received};
use crate::message::shape::Shape;
use crate::store::view::ReadPool;
use crate::store::{migrations, outside, pool, registry};

/// Connections besides one per pipeline: two relays, sweep, retention, closing, marking wake-ups as scheduled.
const SPARE_CONNECTIONS: usize = 6;

/// Queries are answered one batch at a time; the second connection is for when the first breaks.
const QUERY_CONNECTIONS: usize = 2;

pub struct Context {
    pub settings: Settings,
    /// For a connection of its own.
    pub database: pool::Settings,
    pub pool: Pool,
    /// For queries; perhaps to a standby.
    pub queries: ReadPool,
    /// Levels of the delay ladder.
    pub delay_levels: u32,
    /// How many partitions there are; more may be added while the worker runs.
    partition_count: AtomicI32,
    pub clock: Clock,
    pub rates: Rates,
    /// Wakes the relay when an operator wrote outbox messages.
    pub outbox_notified: Notify,
    /// Wakes the relay of copies when events were decided.
    pub copies_notified: Notify,
    /// Wakes whoever publishes fences when an operator moves a server.
    pub moves_notified: Notify,
    pub outlived: Outlived,
    /// How much is decided, for operators.
    pub throughput: Throughput,
    /// Broker accounts whose wake-ups and fences are believed.
    pub accounts: WorkerAccounts,
    pub strangers: Strangers,
    pub metrics: Arc<Metrics>,
    /// What was gathered last of the installation.
    pub figures: Figures,
    pub leads: Leads,
    pub tasks: Tasks,
    pub checks: Checks,
    pub partitions: Partitions,
    /// Which installation the database is.
    pub installation: Uuid,
    pub id: Uuid,
}

impl Context {
    /// Fails if the database is unreachable or not set up.
    pub async fn prepare(settings: Settings) -> Result<Self> {
        let pending = migrations::pending(&settings.database).await?;
        if !pending.is_empty() {
            bail!("the database lacks {}; run `holdfast migrate`", pending.join(", "));
        }
        let id = Uuid::new_v4();
        let named = |url| pool::settings(url).named(&format!("worker {id}"));
        let database = named(&settings.database);
        let client = database.open().await.context("cannot connect to the database")?;
        let shape = registry::load_topology(&client)
            .await?
            .context("no topology is recorded; run `holdfast topology apply`")?;
        let installation = registry::load_installation(&client).await?;
        let account = settings.broker.account();
        if !registry::insert_worker_account(&client, account).await? {
            // That terminal could forge wake-ups.
            bail!(
                "the workers' broker account {account} is also a terminal's; use another account"
            );
        }
        for change in outside::changes(&client).await? {
            warn!("{change}");
        }
        secrets::check(&client, settings.access.as_deref()).await?;
        let accounts = WorkerAccounts::new(registry::load_worker_accounts(&client).await?);
        drop(client);
        let clock = Clock::default();
        let metrics = match settings.http_listen {
            Some(_) => Metrics::new(clock.now()),
            None => Metrics::off(),
        };
        let queries = match &settings.database_read {
            Some(read) => {
                ReadPool { pool: pool::open_to_read(named(read), QUERY_CONNECTIONS), standby: true }
            }
            None => {
                ReadPool { pool: pool::open(database.clone(), QUERY_CONNECTIONS), standby: false }
            }
        };
        Ok(Self {
            pool: pool::open(database.clone(), connections(shape.partitions)),
            database,
            queries,
            settings,
            delay_levels: shape.delay_levels,
            partition_count: AtomicI32::new(shape.partitions),
            clock,
            rates: Rates::default(),
            outbox_notified: Notify::new(),
            copies_notified: Notify::new(),
            moves_notified: Notify::new(),
            outlived: Outlived::default(),
            throughput: Throughput::default(),
            accounts,
            strangers: Strangers::default(),
            metrics: Arc::new(metrics),
            figures: Figures::default(),
            leads: Leads::default(),
            tasks: Tasks::default(),
            checks: Checks::default(),
            partitions: Partitions::default(),
            installation,
            id,
        })
    }

    /// A message that nobody can decide, for operators. `partition`: `None` for a query.
    pub fn dead_letter(
        &self,
        message: &Received,
        reason: DeadReason,
        partition: Option<i32>,
    ) -> Outgoing {
        let account = self.settings.broker.account();
        dead_letter(message, reason, partition, account, self.clock.now())
    }

    /// The topology as far as this worker knows.
    pub fn shape(&self) -> Shape {
        let partitions = self.partition_count.load(Ordering::Relaxed);
        Shape { partitions, delay_levels: self.delay_levels }
    }

    /// Takes note of the number of partitions. Each needs a connection to the database.
    pub fn set_partitions(&self, partitions: i32) {
        if self.partition_count.swap(partitions, Ordering::Relaxed) != partitions {
            info!(partitions, "the number of partitions has changed");
            self.pool.resize(connections(partitions));
        }
    }
}

fn connections(partitions: i32) -> usize {
    usize::try_from(partitions).unwrap_or(1) + SPARE_CONNECTIONS
}

/// Most messages per second from one terminal; 0: unlimited.
#[derive(Default)]
pub struct Rates {
    /// Commands to one partition.
    commands: AtomicU32,
    /// Queries to this worker.
    queries: AtomicU32,
}

impl Rates {
    pub fn commands(&self) -> u32 {
        self.commands.load(Ordering::Relaxed)
    }

    pub fn queries(&self) -> u32 {
        self.queries.load(Ordering::Relaxed)
    }

    /// `None`: unlimited.
    pub fn set(&self, commands: Option<i32>, queries: Option<i32>) {
        self.commands.store(commands.map_or(0, i32::unsigned_abs), Ordering::Relaxed);
        self.queries.store(queries.map_or(0, i32::unsigned_abs), Ordering::Relaxed);
    }
}
