//! Shared by all scenarios of a run: the engines, a vhost for each number of partitions, the
//! accounts, and a template database. It is made once, because that takes longer than a short
//! scenario.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow};
use holdfast::broker::connection::Endpoint;
use holdfast::broker::installation::claim;
use holdfast::broker::topology::{self, reply_queue};
use holdfast::broker::{declare, routes};
use holdfast::message::shape::Shape;
use holdfast::store::{migrations, registry};
use lapin::options::QueuePurgeOptions;
use rabbitmq_http_client::api::Client as Management;
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls};
use url::Url;
use uuid::Uuid;

use crate::{accounts, rig};

/// The accounts' password. Private engines listen on the loopback interface only.
pub const PASSWORD: &str = "bench";

/// Number of terminal accounts: as in production, many read answers.
const TERMINALS: usize = 60;

/// Levels of the delay ladder.
pub const DELAY_LEVELS: u32 = 24;

pub struct Site {
    /// Prefix of all names of this run.
    name: String,
    database_url: Url,
    broker_url: Url,
    management: Management<String, String, String>,
    administrator: String,
    pub terminals: Vec<String>,
    vhosts: Mutex<BTreeSet<i32>>,
    databases: Mutex<usize>,
    /// Whether the database counts statements (`pg_stat_statements` is loaded).
    pub counts_statements: bool,
    /// The same in all copies of the database.
    installation: Uuid,
}

fn variable(name: &str) -> Result<Url> {
    let text =
        std::env::var(name).with_context(|| format!("{name} is not set: run `./dev bench`"))?;
    text.parse().with_context(|| format!("{name} is no URL"))
}

pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

impl Site {
    pub async fn set_up() -> Result<Self> {
        let mut endpoint = variable("RABBITMQ_MANAGEMENT_URL")?;
        let administrator = endpoint.username().to_owned();
        let password = endpoint.password().unwrap_or_default().to_owned();
        endpoint.set_username("").ok();
        endpoint.set_password(None).ok();
        let endpoint = format!("{}/api", endpoint.as_str().trim_end_matches('/'));
        let name = format!("bench_{}", &Uuid::new_v4().simple().to_string()[..10]);
        let prefix = name.replace('_', "-");
        // The HTTP client demands a provider even without TLS.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut site = Self {
            database_url: variable("DATABASE_URL")?,
            broker_url: variable("AMQP_URL")?,
            management: Management::new(endpoint, administrator.clone(), password),
            administrator,
            terminals: (0..TERMINALS).map(|n| format!("{prefix}-{n}")).collect(),
            name,
            vhosts: Mutex::default(),
            databases: Mutex::default(),
            counts_statements: false,
            installation: Uuid::nil(),
        };
        site.make_template().await.context("the database to copy")?;
        Ok(site)
    }

    /// Makes the template database, with the schema and all users and terminals.
    async fn make_template(&mut self) -> Result<()> {
        let admin = connect(self.database_url.as_str()).await?;
        admin.batch_execute(&format!("create database {}", self.name)).await?;
        let url = self.url_of(&self.name);
        migrations::migrate(
            &url.as_str().parse().map_err(|error| anyhow!("DATABASE_URL: {error}"))?,
        )
        .await?;
        let client = connect(url.as_str()).await?;
        self.installation = registry::load_installation(&client).await?;
        let user = "insert into users (id, quota_seconds, holds_max)
            select id, 1000000000000, 1000000 from unnest($1::text[]) id";
        client.execute(user, &[&self.terminals]).await?;
        let terminal =
            "insert into terminals (id, user_id) select id, id from unnest($1::text[]) id";
        client.execute(terminal, &[&self.terminals]).await?;
        let loaded =
            "select current_setting('shared_preload_libraries') like '%pg_stat_statements%'";
        self.counts_statements = admin.query_one(loaded, &[]).await?.get(0);
        if self.counts_statements {
            admin.batch_execute("create extension if not exists pg_stat_statements").await?;
        }
        // Only these: plans for a table that is known to be empty would be bad once it is filled.
        client.batch_execute("analyze users, terminals").await?;
        Ok(())
    }

    fn url_of(&self, database: &str) -> Url {
        let mut url = self.database_url.clone();
        url.set_path(database);
        url
    }

    /// A connection to a database that no scenario uses.
    pub async fn admin(&self) -> Result<Client> {
        connect(self.database_url.as_str()).await
    }

    /// A new copy of the database: its name and its URL.
    pub async fn database(&self) -> Result<(String, Url)> {
        let name = {
            let mut count = self.databases.lock().await;
            *count += 1;
            format!("{}_{}", self.name, *count)
        };
        let copy = format!("create database {name} template {}", self.name);
        self.admin().await?.batch_execute(&copy).await?;
        let url = self.url_of(&name);
        Ok((name, url))
    }

    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let drop = format!("drop database if exists {name} with (force)");
        Ok(self.admin().await?.batch_execute(&drop).await?)
    }

    /// The workers' endpoint on a vhost with `partitions` partitions and empty queues.
    pub async fn vhost(&self, partitions: i32) -> Result<Endpoint> {
        let vhost = format!("{}_{partitions}", self.name);
        let mut url = self.broker_url.clone();
        url.set_username(&self.name).ok();
        url.set_password(Some(PASSWORD)).ok();
        url.set_path(&vhost);
        let endpoint: Endpoint = url.as_str().parse().map_err(anyhow::Error::msg)?;
        let shape = Shape { partitions, delay_levels: DELAY_LEVELS };
        let mut vhosts = self.vhosts.lock().await;
        if vhosts.insert(partitions) {
            let full = [self.name.as_str(), self.administrator.as_str()];
            let made = accounts::vhost(&vhost, &self.terminals, &full, &self.name, PASSWORD);
            self.management.import_definitions(made).await.context("importing accounts")?;
            let connection = endpoint.connect("bench").await?;
            claim(&connection, self.installation).await?;
            declare::apply(&connection, shape).await?;
            routes::bind(&connection, &rig::routes(partitions)).await?;
            let queues = accounts::reply_queues(&vhost, &self.terminals);
            self.management.import_definitions(queues).await.context("importing reply queues")?;
            connection.close().await?;
        } else {
            self.purge(&endpoint, shape).await.context("emptying queues")?;
        }
        Ok(endpoint)
    }

    /// Removes the vhost of so many partitions: it has others now.
    pub async fn forget_vhost(&self, partitions: i32) -> Result<()> {
        self.vhosts.lock().await.remove(&partitions);
        self.management.delete_vhost(&format!("{}_{partitions}", self.name), true).await?;
        Ok(())
    }

    /// Purges what an earlier scenario left, mainly wake-ups for days to come.
    async fn purge(&self, endpoint: &Endpoint, shape: Shape) -> Result<()> {
        let connection = endpoint.connect("bench").await?;
        let channel = connection.create_channel().await?;
        let replies = self.terminals.iter().map(|terminal| reply_queue(terminal));
        let queues: Vec<String> = topology::names(shape).1.into_iter().chain(replies).collect();
        for queue in queues {
            channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await?;
        }
        Ok(connection.close().await?)
    }

    /// The engines' versions: PostgreSQL, RabbitMQ.
    pub async fn versions(&self) -> Result<(String, String)> {
        let row = self.admin().await?.query_one("show server_version", &[]).await?;
        Ok((row.get(0), self.management.server_version().await?))
    }

    /// Removes everything, including what a failed scenario left.
    pub async fn remove(&self) -> Result<()> {
        for partitions in self.vhosts.lock().await.iter() {
            let vhost = format!("{}_{partitions}", self.name);
            self.management.delete_vhost(&vhost, true).await?;
        }
        let ours = self.terminals.iter().chain([&self.name]).map(String::as_str);
        self.management.delete_users(ours.collect()).await?;
        let ours = "select datname from pg_database where datname = $1 or datname like $2";
        let like = format!("{}\\_%", self.name.replace('_', "\\_"));
        for row in self.admin().await?.query(ours, &[&self.name, &like]).await? {
            self.drop_database(row.get(0)).await?;
        }
        Ok(())
    }
}
