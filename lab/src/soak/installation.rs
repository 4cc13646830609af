//! An installation of its own: database, vhost, servers, users and terminals.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow, ensure};
use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use holdfast::broker::accounts::Accounts;
use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::broker::declare;
use holdfast::broker::installation::{Owner, claim};
use holdfast::broker::reply_queues;
use holdfast::broker::routes::{self, Route};
use holdfast::domain::id::{TerminalId, UserId};
use holdfast::message::shape::Shape;
use holdfast::store::admin;
use holdfast::store::registry;
use holdfast::store::url::DatabaseUrl;
use holdfast::store::{migrations, pool};
use rabbitmq_http_client::api::Client as Management;
use rabbitmq_http_client::requests::{Permissions, VirtualHostParams};
use tokio_postgres::Client;
use url::Url;
use uuid::Uuid;

use crate::operator::{self, PATIENCE};
use crate::pick::Pick;
use crate::rolling;
use crate::servers::{self, Clock, Server};
use crate::terminal::{Setting, Terminal};
use crate::workers::Environment;

/// The topology at first. It has more partitions than the default, so that workers share them.
pub const SHAPE: Shape = Shape { partitions: 6, delay_levels: 12 };

/// Terminals that are set up at once.
const AT_ONCE: usize = 8;

/// The stream of random choices for this purpose.
const PURPOSE: u64 = u64::MAX / 2;

/// Every so many users have a quota or a limit of holds that is used up even in a short run: most
/// lives take a few seconds of it.
const SMALL_EVERY: usize = 8;
const SMALL_QUOTA_SECONDS: i64 = 50;
const SMALL_HOLDS: i32 = 25;

pub struct Installation {
    /// Name of database and vhost.
    pub name: String,
    pub database_url: String,
    /// The broker, with the workers' account.
    pub broker: Endpoint,
    pub clock: Clock,
    /// URL of the server's first database, from which ours is made and removed.
    admin_url: String,
    /// Port of the server that has replaced the database's; 0 if none has.
    moved: AtomicU16,
    management: Management<String, String, String>,
    management_url: Url,
    /// The workers' present broker account, if it is not the one they began with.
    rotated: Mutex<Option<String>>,
}

impl Installation {
    /// Makes an installation with the schema and topology of this version, or of `program`'s.
    pub async fn set_up(program: Option<&Path>) -> Result<Self> {
        let name = format!("soak-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let given: Endpoint =
            variable("AMQP_URL")?.parse().map_err(|e| anyhow!("AMQP_URL: {e}"))?;
        let management_url: Url = variable("RABBITMQ_MANAGEMENT_URL")?.parse()?;
        let management = management(&management_url, &given)?;
        let database_url: Url = variable("DATABASE_URL")?.parse().context("DATABASE_URL")?;
        let admin_url = database_url.to_string();
        // With a locale whose rules can be changed, if `./dev` has made one.
        let locale = std::env::var("HOLDFAST_LOCALE").map(|locale| format!(" locale '{locale}'"));
        let options = format!("template template0{}", locale.unwrap_or_default());
        let create = format!("create database \"{name}\" {options}");
        connect(&admin_url).await?.batch_execute(&create).await?;
        let mut own_url = database_url;
        own_url.set_path(&name);
        let broker = vhost(&management, &given, &name).await?;
        let clock = clock(&connect(own_url.as_str()).await?).await?;
        let database_url = own_url.to_string();
        let moved = AtomicU16::new(0);
        let installation = Self {
            name,
            database_url,
            broker,
            clock,
            admin_url,
            moved,
            management,
            management_url,
            rotated: Mutex::default(),
        };
        match program {
            Some(program) => rolling::install(program, &installation).await?,
            None => installation.install().await?,
        }
        Ok(installation)
    }

    async fn install(&self) -> Result<()> {
        migrations::migrate(&database(&self.database_url)?).await?;
        self.claim(&self.amqp().await?).await?;
        declare::apply(&self.amqp().await?, SHAPE).await?;
        registry::insert_topology(&self.database().await?, SHAPE).await?;
        Ok(())
    }

    /// A connection to inspect the database. It is new each time: the server may have restarted.
    pub async fn database(&self) -> Result<Client> {
        connect(&self.where_it_is(&self.database_url)?).await
    }

    /// Notes that another server has replaced the database's.
    pub fn move_database(&self, port: u16) {
        self.moved.store(port, Ordering::Relaxed);
    }

    pub fn database_port(&self) -> Result<u16> {
        let url: Url = self.where_it_is(&self.database_url)?.parse()?;
        Ok(url.port().unwrap_or(5432))
    }

    /// The applied topology. Partitions may have been added.
    pub async fn shape(&self) -> Result<Shape> {
        let recorded = registry::load_topology(&self.database().await?).await?;
        recorded.context("no topology is recorded")
    }

    fn where_it_is(&self, url: &str) -> Result<String> {
        let moved = self.moved.load(Ordering::Relaxed);
        url_at_port(url, (moved != 0).then_some(moved))
    }

    /// Connects to the database on the standby.
    pub async fn database_at(&self, port: u16) -> Result<Client> {
        connect(&url_at_port(&self.database_url, Some(port))?).await
    }

    /// A connection to inspect the broker.
    pub async fn amqp(&self) -> Result<Connection> {
        Ok(self.broker.connect("holdfast soak").await?)
    }

    /// Declares what is missing on the broker, except bindings of servers and reply queues.
    pub async fn restore(&self) -> Result<()> {
        let shape = self.shape().await?;
        let amqp = self.amqp().await?;
        self.claim(&amqp).await?;
        declare::apply(&amqp, shape).await?;
        amqp.close().await.context("closing")
    }

    async fn claim(&self, amqp: &Connection) -> Result<()> {
        let id = registry::load_installation(&self.database().await?).await?;
        let owner = claim(amqp, id).await?;
        ensure!(owner == Owner::This, "the vhost belongs to another installation: {owner:?}");
        Ok(())
    }

    /// Declares and binds a terminal's reply queue.
    pub async fn restore_replies(&self, terminal: &str) -> Result<()> {
        let amqp = self.amqp().await?;
        reply_queues::restore(&amqp, &[terminal.to_owned()]).await?;
        amqp.close().await.context("closing")
    }

    /// Environment variables for workers and operators.
    pub fn environment(&self) -> Result<Environment> {
        Ok(vec![
            ("DATABASE_URL", self.where_it_is(&self.database_url)?),
            ("AMQP_URL", self.broker.url_for(self.broker.account(), self.broker.password())),
            ("RABBITMQ_MANAGEMENT_URL", self.management_url.to_string()),
        ])
    }

    /// Makes another database, with the schema, the way a second installation begins.
    pub async fn second_database(&self, program: &Path) -> Result<Environment> {
        let name = self.second_name();
        let admin = connect(&self.where_it_is(&self.admin_url)?).await?;
        admin.batch_execute(&format!("create database \"{name}\"")).await?;
        let mut url: Url = self.where_it_is(&self.database_url)?.parse()?;
        url.set_path(&name);
        let mut environment = self.environment()?;
        environment.push(("DATABASE_URL", url.to_string()));
        let migrated = operator::end_of(program, environment.clone(), &["migrate"], PATIENCE);
        let migrated = migrated.await?.context("migrate hangs")?;
        ensure!(migrated.status.success(), "migrate: {}", migrated.complaints);
        registry::insert_topology(&connect(url.as_str()).await?, SHAPE).await?;
        Ok(environment)
    }

    /// Removes it, if there is one.
    pub async fn remove_second_database(&self) -> Result<()> {
        let admin = connect(&self.where_it_is(&self.admin_url)?).await?;
        let statement = format!("drop database if exists \"{}\" with (force)", self.second_name());
        admin.batch_execute(&statement).await.context("removing the second database")
    }

    fn second_name(&self) -> String {
        format!("{}-second", self.name)
    }

    /// Notes that workers have a new broker account, and returns the one before, if it was not the first.
    pub fn rotated_to(&self, name: String) -> Option<String> {
        self.rotated.lock().expect("no panics").replace(name)
    }

    /// Whether workers have another broker account than they began with.
    pub fn has_rotated(&self) -> bool {
        self.rotated.lock().expect("no panics").is_some()
    }

    /// Deletes a broker account.
    pub async fn remove_account(&self, name: &str) -> Result<()> {
        self.management.delete_user(name, true).await.context("removing an account")
    }

    /// Adds servers, spread over the partitions.
    pub async fn add_servers(&self, seed: u64) -> Result<Vec<Server>> {
        let (servers, database) = (servers::all(seed), self.database().await?);
        let mut routes = Vec::new();
        for server in &servers {
            let partition = admin::servers::insert_server(&database, server).await?;
            let partition = partition.with_context(|| format!("server {} exists", server.id))?;
            routes.push(Route { server: server.id.to_string(), partition });
        }
        let amqp = self.amqp().await?;
        routes::bind(&amqp, &routes).await?;
        amqp.close().await.context("closing")?;
        Ok(servers.iter().map(Server::from).collect())
    }

    /// Adds terminals, two for each user, and connects them.
    pub async fn add_terminals(
        &self,
        count: usize,
        seed: u64,
        desks: &Desks<'_>,
    ) -> Result<Vec<Arc<Terminal>>> {
        let endpoint = self.broker.clone();
        let management = self.management_url.as_str().parse().map_err(anyhow::Error::msg)?;
        let accounts = &Accounts::new(&management, &endpoint)?;
        let database = &self.database().await?;
        for number in 0..count.div_ceil(2) {
            add_user(database, number).await?;
        }
        let add = |number| async move {
            let user = user(number / 2)?;
            // All vhosts of a broker share one name space of accounts.
            let id: TerminalId = format!("t{number}-{}", self.name).parse()?;
            admin::terminals::insert_terminal(database, &id, &user).await?;
            let password = Uuid::new_v4().to_string();
            accounts.create_terminal(&id, &password).await?;
            let url = self.broker.url_for(id.as_str(), &password);
            let endpoint = at_port(&url, (desks.port)(number))?;
            let pick = Pick::new(seed, PURPOSE + number as u64);
            let (clock, setting) = (self.clock, desks.setting.clone());
            let terminal = Terminal::connect(endpoint, user.to_string(), clock, setting, pick);
            Ok(Arc::new(terminal.await?))
        };
        stream::iter(0..count).map(add).buffered(AT_ONCE).try_collect().await
    }

    /// Removes everything.
    pub async fn remove(&self, terminals: &[Arc<Terminal>]) -> Result<()> {
        terminals.iter().for_each(|terminal| terminal.close());
        self.management.delete_vhost(&self.name, true).await.context("removing the vhost")?;
        for terminal in terminals {
            self.management.delete_user(&terminal.id, true).await.context("removing an account")?;
        }
        let rotated = self.rotated.lock().expect("no panics").take();
        if let Some(account) = rotated {
            self.remove_account(&account).await?;
        }
        let statement = format!("drop database \"{}\" with (force)", self.name);
        let admin = connect(&self.where_it_is(&self.admin_url)?).await?;
        admin.batch_execute(&statement).await.context("removing the database")
    }
}

/// How terminals reach the broker, and what they do when it is away.
pub struct Desks<'a> {
    pub setting: Setting,
    /// The proxy's port for the terminal with this number; none if it connects directly.
    pub port: &'a (dyn Fn(usize) -> Option<u16> + Sync),
}

/// The endpoint of a URL, with another port on this machine if one is given.
pub fn at_port(url: &str, port: Option<u16>) -> Result<Endpoint> {
    url_at_port(url, port)?.parse().map_err(|error: String| anyhow!(error))
}

/// A URL that leads to another port on this machine, if one is given.
pub fn url_at_port(url: &str, port: Option<u16>) -> Result<String> {
    let mut url: Url = url.parse()?;
    if let Some(port) = port {
        url.set_host(Some("127.0.0.1")).context("a URL with a host")?;
        url.set_port(Some(port)).ok();
    }
    Ok(url.to_string())
}

async fn add_user(database: &Client, number: usize) -> Result<()> {
    let quota = (number % SMALL_EVERY == 1).then_some(SMALL_QUOTA_SECONDS);
    let holds = (number % SMALL_EVERY == 2).then_some(SMALL_HOLDS);
    admin::users::insert_user(database, &user(number)?, quota, holds).await?;
    Ok(())
}

fn variable(name: &str) -> Result<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.with_context(|| format!("{name} is not set; run this with `./dev soak`"))
}

fn user(number: usize) -> Result<UserId> {
    Ok(format!("u{number}").parse()?)
}

/// The URL as a worker reads it.
pub fn database(url: &str) -> Result<DatabaseUrl> {
    url.parse().map_err(|error| anyhow!("DATABASE_URL: {error}"))
}

async fn connect(url: &str) -> Result<Client> {
    // Checks read whole tables, which may exceed the time that a worker's statement may take.
    let settings = pool::unlimited(&database(url)?);
    let (client, connection) = settings.connect().await.context("connecting to the database")?;
    tokio::spawn(connection);
    client.batch_execute("set timezone to 'UTC'").await?;
    Ok(client)
}

fn management(url: &Url, given: &Endpoint) -> Result<Management<String, String, String>> {
    let mut endpoint = url.clone();
    endpoint.set_username("").ok();
    endpoint.set_password(None).ok();
    let (user, password) = match url.password() {
        Some(password) => (url.username(), password),
        None => (given.account(), given.password()),
    };
    let endpoint = format!("{}/api", endpoint.as_str().trim_end_matches('/'));
    // The HTTP client demands a provider even without TLS.
    rustls::crypto::ring::default_provider().install_default().ok();
    Ok(Management::new(endpoint, user.to_owned(), password.to_owned()))
}

/// Makes a vhost for the given account.
async fn vhost(
    management: &Management<String, String, String>,
    given: &Endpoint,
    name: &str,
) -> Result<Endpoint> {
    management.create_vhost(&VirtualHostParams::named(name)).await.context("creating a vhost")?;
    let all = Permissions::full_access(given.account(), name);
    management.declare_permissions(&all).await.context("granting permissions")?;
    let mut url: Url = given.url_for(given.account(), given.password()).parse()?;
    url.set_path(name);
    url.as_str().parse().map_err(|error: String| anyhow!(error))
}

/// Offset of the database's clock from ours.
async fn clock(database: &Client) -> Result<Clock> {
    // The first statement of a session takes longer. Transfer time must not count.
    database.batch_execute("select 1").await?;
    let before = Utc::now();
    let row = database.query_one("select clock_timestamp()", &[]).await?;
    Ok(Clock::new(row.get(0), before, Utc::now()))
}
