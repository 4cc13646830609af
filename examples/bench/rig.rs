//! An installation per measurement: a database, a vhost, servers, users and terminals.

use anyhow::{Context as _, Result, bail};
use holdfast::broker::accounts::Accounts;
use holdfast::broker::connection::Endpoint;
use holdfast::broker::topology::{self, Shape};
use holdfast::client::TerminalClient;
use holdfast::store::migrations;
use holdfast::store::registry::{self, TopologyShape};
use lapin::Connection;
use rabbitmq_http_client::api::Client as Management;
use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use rabbitmq_http_client::requests::{Permissions, UserParams, VirtualHostParams};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use url::Url;
use uuid::Uuid;

use crate::process::{Process, Programs};

const INVARIANTS: &str = include_str!("../../schema/invariants.sql");

/// The account's password; the engines listen on the loopback interface only.
const PASSWORD: &str = "bench";

/// Servers, all alike.
pub const SERVERS: usize = 1_000;

/// What differs between installations.
#[derive(Clone)]
pub struct Plan {
    pub partitions: i32,
    pub terminals: usize,
    pub capacity: i32,
    pub lead_seconds: i32,
    pub reminder_seconds: i32,
}

impl Default for Plan {
    /// Answers are read by many accounts, as in life.
    fn default() -> Self {
        Self {
            partitions: 4,
            terminals: 200,
            capacity: 4,
            lead_seconds: 21_600,
            reminder_seconds: 3_600,
        }
    }
}

pub struct Rig {
    name: String,
    pub database_url: String,
    pub database: Client,
    pub broker: Connection,
    pub worker_url: String,
    accounts: Vec<(String, String)>,
    endpoint: Endpoint,
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run `./dev bench`"))
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

fn management() -> Result<(Url, Management<String, String, String>)> {
    let url: Url = variable("RABBITMQ_MANAGEMENT_URL")?.parse()?;
    let account = url.username().to_owned();
    let password = url.password().unwrap_or_default().to_owned();
    let mut bare = url.clone();
    bare.set_username("").ok();
    bare.set_password(None).ok();
    let endpoint = format!("{}/api", bare.as_str().trim_end_matches('/'));
    Ok((url, Management::new(endpoint, account, password)))
}

impl Rig {
    pub async fn set_up(plan: &Plan) -> Result<Self> {
        let name = format!("bench_{}", &Uuid::new_v4().simple().to_string()[..10]);
        let mut database_url: Url = variable("DATABASE_URL")?.parse()?;
        connect(database_url.as_str())
            .await?
            .batch_execute(&format!("create database {name}"))
            .await?;
        database_url.set_path(&name);
        migrations::migrate(database_url.as_str()).await?;
        let database = connect(database_url.as_str()).await?;
        let (url, management) = management()?;
        management.create_vhost(&VirtualHostParams::named(&name)).await?;
        let hash = base64_encoded_salted_password_hash_sha256(&[1, 2, 3, 4], PASSWORD);
        management.create_user(&UserParams::new(&name, &hash, "")).await?;
        for account in [name.as_str(), url.username()] {
            management.declare_permissions(&Permissions::full_access(account, &name)).await?;
        }
        let mut worker: Url = variable("AMQP_URL")?.parse()?;
        worker.set_username(&name).ok();
        worker.set_password(Some(PASSWORD)).ok();
        worker.set_path(&name);
        let endpoint: Endpoint = worker.as_str().parse().map_err(anyhow::Error::msg)?;
        let broker = endpoint.connect("bench").await?;
        let shape = Shape { partitions: plan.partitions, delay_levels: 24 };
        topology::apply(&broker, shape).await?;
        let recorded = TopologyShape { partitions: plan.partitions, delay_levels: 24 };
        registry::insert_topology(&database, recorded).await?;
        let mut rig = Self {
            name,
            database_url: database_url.to_string(),
            database,
            broker,
            worker_url: worker.to_string(),
            accounts: Vec::new(),
            endpoint,
        };
        rig.fill(plan, &Accounts::new(&url, &rig.endpoint)?).await?;
        Ok(rig)
    }

    async fn fill(&mut self, plan: &Plan, accounts: &Accounts) -> Result<()> {
        let Plan { capacity, lead_seconds, reminder_seconds, .. } = plan;
        self.database
            .batch_execute(&format!(
                "insert into servers (id, capacity, rate_minor, currency, slot_seconds, min_seconds,
                     lead_seconds, reminder_seconds, connection_url)
                 select 'gpu-' || n, {capacity}, 1250, 'EUR', 1, 1, {lead_seconds},
                     {reminder_seconds}, 'https://gpu-' || n || '.example/'
                 from generate_series(0, {SERVERS} - 1) n"
            ))
            .await?;
        for n in 0..plan.terminals {
            let id = format!("{}-{n}", self.name.replace('_', "-"));
            let user = "insert into users (id, quota_seconds, holds_max)
                values ($1, 1000000000000, 2000000000)";
            self.database.execute(user, &[&id]).await?;
            let terminal = "insert into terminals (id, user_id) values ($1, $1)";
            self.database.execute(terminal, &[&id]).await?;
            let password =
                accounts.create_terminal(&id.parse().map_err(anyhow::Error::msg)?).await?;
            self.accounts.push((id, password));
        }
        Ok(())
    }

    /// Every terminal, connected.
    pub async fn terminals(&self) -> Result<Vec<TerminalClient>> {
        let mut terminals = Vec::new();
        for (id, password) in &self.accounts {
            let url = self.endpoint.url_for(id, password);
            let endpoint: Endpoint = url.parse().map_err(anyhow::Error::msg)?;
            terminals.push(TerminalClient::connect(&endpoint).await?);
        }
        Ok(terminals)
    }

    /// What workers and the echo need to know.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("DATABASE_URL", self.database_url.clone()), ("AMQP_URL", self.worker_url.clone())]
    }

    pub fn worker(&self, programs: &Programs, more: &[(&'static str, String)]) -> Result<Process> {
        let environment = [self.environment(), more.to_vec()].concat();
        Process::start(&programs.holdfast, "worker", &environment)
    }

    /// Waits until every partition has a consumer.
    pub async fn consumed(&self, partitions: i32) -> Result<()> {
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        for _ in 0..200 {
            let channel = self.broker.create_channel().await?;
            let mut consumers = 0;
            for partition in 0..partitions {
                let queue = topology::partition_queue(partition);
                let declared = channel
                    .queue_declare(queue.as_str().into(), options, Default::default())
                    .await?;
                consumers += u32::from(declared.consumer_count() > 0);
            }
            channel.close(200, "".into()).await?;
            if consumers == partitions.unsigned_abs() {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        bail!("no worker consumes the partitions")
    }

    /// Checks every invariant, then removes everything.
    pub async fn tear_down(self) -> Result<()> {
        let messages = self.database.simple_query(INVARIANTS).await.context("invariants.sql")?;
        let broken: Vec<String> = messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some(format!("{}: {}", row.get(0).unwrap_or("?"), row.get(1).unwrap_or("?")))
                }
                _ => None,
            })
            .collect();
        if !broken.is_empty() {
            bail!("{} invariants are broken, the first: {}", broken.len(), broken[0]);
        }
        self.remove().await
    }

    /// Removes everything.
    pub async fn remove(self) -> Result<()> {
        self.broker.close(200, "done".into()).await?;
        let (_, management) = management()?;
        management.delete_vhost(&self.name, true).await?;
        management.delete_user(&self.name, true).await?;
        for (account, _) in &self.accounts {
            management.delete_user(account, true).await?;
        }
        let admin = connect(&variable("DATABASE_URL")?).await?;
        admin.batch_execute(&format!("drop database {} with (force)", self.name)).await?;
        Ok(())
    }
}
