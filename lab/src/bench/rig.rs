//! An installation for one measurement: its own database, a vhost, servers and terminals.

use std::time::Duration;

use anyhow::{Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::broker::routes::Route;
use holdfast::broker::topology::{self, QUERIES_QUEUE};
use holdfast::client::{Replies, TerminalClient};
use holdfast::message::shape::Shape;
use holdfast::store::registry;
use tokio_postgres::Client;

use crate::invariants;
use crate::process::{Process, Programs};
use crate::site::{DELAY_LEVELS, PASSWORD, Site, connect};
use crate::statements;

/// Number of terminals where the load is not full.
pub const MANY: usize = 60;

/// Number of servers, which are all alike.
pub const SERVERS: usize = 1_000;

/// Where a worker answers scrapes; `off` counts nothing.
pub const HTTP_LISTEN: &str = "HOLDFAST_HTTP_LISTEN";

/// The way of each server's commands: they are dealt out to the partitions in turn.
pub fn routes(partitions: i32) -> Vec<Route> {
    let partition = (0..partitions).cycle();
    let route = |(n, partition)| Route { server: format!("gpu-{n}"), partition };
    (0..SERVERS).zip(partition).map(route).collect()
}

/// Terminals that connect at once.
const CONNECTING: usize = 16;

/// Inserts timers for all deadlines and reminders of the calendar that requests use.
const KNOWN_INSTANTS: &str = "insert into timers (partition, due_at, scheduled_until)
    select partition, due_at, due_at
    from generate_series(0, $1::integer - 1) partition,
         (select distinct slot - make_interval(secs => $2::integer + ahead) as due_at
          from generate_series(
                   to_timestamp(floor(extract(epoch from now()) / 7200) * 7200) + interval '2 days',
                   now() + interval '91 days', interval '1 hour') slot,
               unnest(array[0, $3::integer]) ahead) instants";

/// What differs between installations.
#[derive(Clone)]
pub struct Plan {
    pub partitions: i32,
    /// Number of connected terminals, each with its own user. A full load uses few terminals with
    /// many unanswered commands each: two hundred would measure the broker's connections instead,
    /// and the echo would fall below its plausible rate.
    pub terminals: usize,
    pub capacity: i32,
    pub lead_seconds: i32,
    pub reminder_seconds: i32,
    /// Whether the database counts statements, which costs it some speed.
    pub count_statements: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            partitions: 4,
            terminals: 25,
            capacity: 4,
            lead_seconds: 21_600,
            reminder_seconds: 3_600,
            count_statements: false,
        }
    }
}

pub struct Rig<'a> {
    site: &'a Site,
    pub plan: Plan,
    pub name: String,
    pub database_url: String,
    pub database: Client,
    pub broker: Connection,
    endpoint: Endpoint,
    worker_url: String,
}

impl<'a> Rig<'a> {
    pub async fn set_up(site: &'a Site, plan: Plan) -> Result<Self> {
        let ((name, database_url), endpoint) =
            tokio::try_join!(site.database(), site.vhost(plan.partitions))?;
        let database = connect(database_url.as_str()).await?;
        if plan.count_statements && site.counts_statements {
            statements::switch_on(&database, &name).await?;
        }
        let Plan { partitions, capacity, lead_seconds, reminder_seconds, .. } = &plan;
        database
            .batch_execute(&format!(
                "insert into servers (id, capacity, rate_minor, currency, slot_seconds, min_seconds,
                     lead_seconds, reminder_seconds, connection_url, partition)
                 select 'gpu-' || n, {capacity}, 1250, 'EUR', 1, 1, {lead_seconds},
                     {reminder_seconds}, 'https://gpu-' || n || '.example/', n % {partitions}
                 from generate_series(0, {SERVERS} - 1) n;
                 analyze servers"
            ))
            .await?;
        // As in a running service, there is a wake-up for every time of the calendar. The first
        // minute of a new installation, when nearly every request schedules one, is not measured.
        database.execute(KNOWN_INSTANTS, &[partitions, lead_seconds, reminder_seconds]).await?;
        database.batch_execute("analyze timers").await?;
        let shape = Shape { partitions: plan.partitions, delay_levels: DELAY_LEVELS };
        registry::insert_topology(&database, shape).await?;
        Ok(Self {
            site,
            name,
            database_url: database_url.to_string(),
            database,
            broker: endpoint.connect("bench").await?,
            worker_url: endpoint.url_for(endpoint.account(), endpoint.password()),
            endpoint,
            plan,
        })
    }

    /// The plan's terminals, connected and reading.
    pub async fn terminals(&self) -> Result<Vec<(TerminalClient, Replies)>> {
        let connected = stream::iter(self.endpoints()?).map(async |endpoint| {
            let client = TerminalClient::connect(&endpoint).await?;
            let replies = client.replies().await?;
            anyhow::Ok((client, replies))
        });
        connected.buffered(CONNECTING).try_collect().await
    }

    /// The plan's terminals, not connected.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let ids = self.site.terminals.iter().take(self.plan.terminals);
        let endpoint =
            |id: &String| self.endpoint.url_for(id, PASSWORD).parse().map_err(anyhow::Error::msg);
        ids.map(endpoint).collect()
    }

    /// Fails if the database accepts no connection.
    pub async fn try_database(&self) -> Result<()> {
        connect(&self.database_url).await.map(drop)
    }

    /// Fails if the broker accepts no connection or lacks a queue.
    pub async fn try_broker(&self) -> Result<()> {
        let connection = self.endpoint.connect("bench").await?;
        let channel = connection.create_channel().await?;
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        for partition in 0..self.plan.partitions {
            let queue = topology::partition_queue(partition);
            channel.queue_declare(queue.as_str().into(), options, Default::default()).await?;
        }
        Ok(connection.close().await?)
    }

    /// Renews our own connections after an engine was away.
    pub async fn connect_again(&mut self) -> Result<()> {
        self.database = connect(&self.database_url).await?;
        self.broker = self.endpoint.connect("bench").await?;
        Ok(())
    }

    /// Environment variables of workers and of the echo.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.database_url.clone()),
            ("AMQP_URL", self.worker_url.clone()),
            // Several workers at a time.
            (HTTP_LISTEN, "127.0.0.1:0".to_owned()),
        ]
    }

    pub fn worker(&self, programs: &Programs, more: &[(&'static str, String)]) -> Result<Process> {
        let environment = [self.environment(), more.to_vec()].concat();
        Process::start(&programs.holdfast, "worker", &environment)
    }

    /// Waits until every partition has a consumer.
    pub async fn consumed(&self) -> Result<()> {
        self.all_consumed((0..self.plan.partitions).map(topology::partition_queue).collect()).await
    }

    /// Waits until queries have a consumer.
    pub async fn queries_consumed(&self) -> Result<()> {
        self.all_consumed(vec![QUERIES_QUEUE.to_owned()]).await
    }

    async fn all_consumed(&self, queues: Vec<String>) -> Result<()> {
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = self.broker.create_channel().await?;
        for _ in 0..400 {
            let mut consumed = 0;
            for queue in &queues {
                let declared = channel
                    .queue_declare(queue.as_str().into(), options, Default::default())
                    .await?;
                consumed += usize::from(declared.consumer_count() > 0);
            }
            if consumed == queues.len() {
                channel.close(200, "".into()).await?;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("no worker consumes {}", queues.join(", "))
    }

    /// Empties all queues, so that a process starts with nothing to do.
    pub async fn purge(&self) -> Result<()> {
        self.site.vhost(self.plan.partitions).await.map(|_| ())
    }

    /// Checks every invariant, then removes the database.
    pub async fn tear_down(self) -> Result<()> {
        self.broker.close().await?;
        invariants::check(&self.database_url).await?;
        drop(self.database);
        self.site.drop_database(&self.name).await
    }
}
