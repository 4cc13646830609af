//! What the management API tells about the broker and Holdfast's objects on it. It only reads, and an account
//! with the tag `monitoring` may read all but accounts, permissions and feature flags.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::connection::Endpoint;
use super::listing::list;
use super::management::{Address, Management};

/// Columns of [`QueueState`].
const QUEUE_COLUMNS: &str =
    "name,messages_unacknowledged,message_stats.ack_details.rate,head_message_timestamp";

/// The broker as a whole.
#[derive(Debug, Clone, Deserialize)]
pub struct Overview {
    /// Its version.
    pub rabbitmq_version: String,
}

/// A queue, as of the last statistics; what these do not have yet is `None` or empty.
#[derive(Debug, Clone, Deserialize)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Messages that a consumer has in hand.
    #[serde(default)]
    pub messages_unacknowledged: Option<u64>,
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

    /// Holdfast's queues, those of terminals too.
    pub async fn queues(&self) -> Result<Vec<QueueState>> {
        list(&self.management, "queues", &self.vhost, QUEUE_COLUMNS).await
    }
}
