//! What the management API tells about the broker and Holdfast's objects on it. It only reads, and an account
//! with the tag `monitoring` may read all but accounts, permissions and feature flags.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::connection::Endpoint;
use super::listing::list;
use super::management::{Address, Management, ManagementError};

/// Columns of [`QueueState`].
const QUEUE_COLUMNS: &str = "name,type,durable,arguments,messages_unacknowledged,members,online,\
    message_stats.ack_details.rate,head_message_timestamp";

/// Columns of [`ExchangeState`].
const EXCHANGE_COLUMNS: &str = "name,type,durable";

/// The broker as a whole.
#[derive(Debug, Clone, Deserialize)]
pub struct Overview {
    /// Its version.
    pub rabbitmq_version: String,
}

/// A node of the broker. What it does not tell, because it is down, say, is absent.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    #[serde(default)]
    pub running: bool,
    /// Nodes that it has lost in a network partition.
    #[serde(default)]
    pub partitions: Vec<String>,
    /// Whether it stops publishers until memory is free.
    #[serde(default)]
    pub mem_alarm: bool,
    /// Memory in use, in bytes.
    #[serde(default)]
    pub mem_used: u64,
    /// Memory above which the alarm goes off, in bytes.
    #[serde(default)]
    pub mem_limit: u64,
    /// Whether it stops publishers until disk is free.
    #[serde(default)]
    pub disk_free_alarm: bool,
    #[serde(default)]
    disk_free: Value,
    /// Free disk below which the alarm goes off, in bytes.
    #[serde(default)]
    pub disk_free_limit: u64,
    /// File descriptors in use.
    #[serde(default)]
    pub fd_used: u64,
    /// Most file descriptors.
    #[serde(default)]
    pub fd_total: u64,
}

impl Node {
    /// Free disk, in bytes; some systems do not tell.
    pub fn disk_free(&self) -> Option<u64> {
        self.disk_free.as_u64()
    }
}

/// A connection to the vhost.
#[derive(Debug, Clone, Deserialize)]
pub struct Link {
    /// The account.
    #[serde(default)]
    pub user: String,
    /// `running`, `blocked`, `blocking`, `flow` or how it comes or goes.
    #[serde(default)]
    pub state: String,
    /// Whether it is encrypted.
    #[serde(default)]
    pub ssl: bool,
    /// The other end's address.
    #[serde(default)]
    pub peer_host: String,
}

/// A feature flag of the broker.
#[derive(Debug, Clone, Deserialize)]
pub struct FeatureFlag {
    /// Its name.
    pub name: String,
    /// `enabled`, `disabled` or `unavailable`.
    #[serde(default)]
    pub state: String,
    /// `stable`, `experimental` or `required`.
    #[serde(default)]
    pub stability: String,
}

/// An exchange, as it was declared.
#[derive(Debug, Clone, Deserialize)]
pub struct ExchangeState {
    /// Its name.
    pub name: String,
    /// `topic`, `direct` or `fanout`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Whether it survives a restart of the broker.
    #[serde(default)]
    pub durable: bool,
}

/// A queue, as of the last statistics; what these do not have yet is `None` or empty.
#[derive(Debug, Clone, Deserialize)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Whether it survives a restart of the broker.
    #[serde(default)]
    pub durable: bool,
    /// As it was declared.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Messages that a consumer has in hand.
    #[serde(default)]
    pub messages_unacknowledged: Option<u64>,
    /// Nodes that have a copy of a quorum queue.
    #[serde(default)]
    pub members: Vec<String>,
    /// Those of them that run.
    #[serde(default)]
    pub online: Vec<String>,
    #[serde(default)]
    message_stats: Option<Value>,
    /// Seconds since 1970, where the broker tells it: of quorum queues it does not (3.10, 4.0).
    #[serde(default)]
    pub head_message_timestamp: Option<i64>,
}

impl QueueState {
    /// Acknowledged messages per second.
    pub fn acknowledged_per_second(&self) -> Option<f64> {
        self.message_stats.as_ref()?["ack_details"]["rate"].as_f64()
    }
}

/// Reads from one vhost.
pub struct Inspector {
    management: Management,
    vhost: String,
}

impl Inspector {
    /// Uses the AMQP URL's account, unless the `management` address has one.
    pub fn new(management: &Address, broker: &Endpoint) -> Result<Self> {
        let management = Management::new(management, (broker.account(), broker.password()))?;
        Ok(Self { management, vhost: broker.vhost().to_owned() })
    }

    /// The broker's versions.
    pub async fn overview(&self) -> Result<Overview> {
        self.management.read(&["overview"]).await.context("asking for the broker's version")
    }

    /// All nodes of the cluster.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        self.management.read(&["nodes"]).await.context("listing nodes")
    }

    /// Open connections to the vhost.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let path = ["vhosts", &self.vhost, "connections"];
        self.management.read(&path).await.context("listing connections")
    }

    /// The broker's feature flags. Needs an administrator.
    pub async fn feature_flags(&self) -> Result<Vec<FeatureFlag>> {
        self.management.read(&["feature-flags"]).await.context("listing feature flags")
    }

    /// Holdfast's exchanges.
    pub async fn exchanges(&self) -> Result<Vec<ExchangeState>> {
        list(&self.management, "exchanges", &self.vhost, EXCHANGE_COLUMNS).await
    }

    /// Holdfast's queues, those of terminals too.
    pub async fn queues(&self) -> Result<Vec<QueueState>> {
        list(&self.management, "queues", &self.vhost, QUEUE_COLUMNS).await
    }
}

/// Whether the account may not read that.
pub fn is_forbidden(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<ManagementError>().is_some_and(ManagementError::is_forbidden)
    })
}
