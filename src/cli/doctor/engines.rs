//! The engines as this command reaches them, for all checks.

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use super::finding::{Check, Finding, bounded};
use crate::broker::connection::{Connection, Endpoint};
use crate::broker::inspect::{Inspector, Overview};
use crate::broker::management::Address;
use crate::cli::context::Context;
use crate::message::shape::Shape;
use crate::store::admin::conditions::{Conditions, load_conditions};
use crate::store::admin::dead_letters::count_open;
use crate::store::admin::pauses::{Pause, load_pauses};
use crate::store::admin::status::{Versions, load_versions};
use crate::store::pool;

const DATABASE: Check = Check::new("database.reached", "a connection to DATABASE_URL");
const BROKER: Check = Check::new("broker.reached", "a connection to AMQP_URL");
const MANAGEMENT: Check =
    Check::new("management.reached", "the management API at RABBITMQ_MANAGEMENT_URL");

/// What could be reached, and what it said first.
pub(super) struct Engines<'a> {
    /// A session that gets the settings of its account and database: without those of Holdfast's own sessions.
    pub database: Option<Client>,
    pub conditions: Option<Conditions>,
    /// `None` also if the schema is missing.
    pub versions: Option<Versions>,
    /// `None` also if the schema is missing.
    pub pauses: Option<Vec<Pause>>,
    /// Dead letters that are filed and open. `None` also if the schema is missing.
    pub filed_letters: Option<i64>,
    pub broker: Option<Connection>,
    pub endpoint: Option<&'a Endpoint>,
    pub management: Option<&'a Address>,
    pub inspector: Option<Inspector>,
    pub overview: Option<Overview>,
}

impl<'a> Engines<'a> {
    pub async fn open(context: &'a Context, findings: &mut Vec<Finding>) -> Self {
        let mut engines = Self {
            database: None,
            conditions: None,
            versions: None,
            pauses: None,
            filed_letters: None,
            broker: None,
            endpoint: context.config.broker().ok(),
            management: context.config.management().ok(),
            inspector: None,
            overview: None,
        };
        findings.push(bounded(DATABASE, engines.open_database(context)).await);
        findings.push(bounded(BROKER, engines.open_broker(context)).await);
        findings.push(bounded(MANAGEMENT, engines.open_management(context)).await);
        engines
    }

    /// The recorded topology.
    pub fn shape(&self) -> Option<Shape> {
        Some(self.versions.as_ref()?.topology.as_ref()?.shape())
    }

    /// Whether operators have paused a partition: it has no consumer, and nothing is wrong with it.
    pub fn is_paused(&self, partition: i32) -> bool {
        self.pauses.iter().flatten().any(|pause| pause.scope.covers(partition))
    }

    async fn open_database(&mut self, context: &Context) -> Result<Finding> {
        let url = context.config.database()?;
        let opened = pool::bare(url).named("doctor").open().await;
        let client = opened.with_context(|| format!("cannot connect to {}", url.place()))?;
        let conditions = load_conditions(&client).await?;
        let seen = format!("PostgreSQL {} at {}", conditions.version, url.place());
        // Another check says what is wrong with the schema.
        self.versions = load_versions(&client).await.ok();
        self.pauses = load_pauses(&client).await.ok();
        self.filed_letters = count_open(&client).await.ok();
        self.conditions = Some(conditions);
        self.database = Some(client);
        Ok(DATABASE.green(seen))
    }

    async fn open_broker(&mut self, context: &Context) -> Result<Finding> {
        let connection = context.broker("doctor").await?;
        self.broker = Some(connection);
        Ok(BROKER.green(context.config.broker()?.to_string()))
    }

    async fn open_management(&mut self, context: &Context) -> Result<Finding> {
        let Some(address) = self.management else {
            return Ok(MANAGEMENT.skipped(
                "RABBITMQ_MANAGEMENT_URL is not set: arguments, bindings, policies and alarms are not looked at",
                "set it; an account with the tag monitoring is enough for most of them",
            ));
        };
        let inspector = Inspector::new(address, context.config.broker()?)?;
        let overview = inspector.overview().await?;
        let seen = format!("RabbitMQ {}", overview.rabbitmq_version);
        self.overview = Some(overview);
        self.inspector = Some(inspector);
        Ok(MANAGEMENT.green(seen))
    }
}
