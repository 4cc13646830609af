//! Publishes, and counts what the broker says.

use std::sync::Arc;

use super::context::Context;
use super::metrics::Metrics;
use super::metrics::labels::{Confirm, To};
use crate::broker::BrokerError;
use crate::broker::connection::Connection;
use crate::broker::publisher::{self, Fate, Outgoing};
use crate::broker::topology::DEAD;
use crate::message::envelope::DeadReason;

/// A publisher whose confirms are counted.
pub struct Publisher {
    inner: publisher::Publisher,
    metrics: Arc<Metrics>,
}

impl Publisher {
    pub async fn open(context: &Context, connection: &Connection) -> Result<Self, BrokerError> {
        let inner = publisher::Publisher::open(connection).await?;
        Ok(Self { inner, metrics: context.metrics.clone() })
    }

    /// Publishes all as mandatory and waits for all confirms. After an error every outcome is unknown.
    pub async fn publish(&mut self, batch: &[Outgoing]) -> Result<Vec<Fate>, BrokerError> {
        // Also what is dropped while it waits is unknown.
        let mut unknown = Unknown { metrics: &self.metrics, batch };
        let fates = self.inner.publish(batch).await?;
        unknown.batch = &[];
        for (message, fate) in batch.iter().zip(&fates) {
            self.metrics.published.of(To::of(&message.exchange), (*fate).into()).increment(1);
            if message.exchange == DEAD
                && *fate == Fate::Routed
                && let Some(reason) = DeadReason::parse(&message.routing_key)
            {
                self.metrics.dead_letters.of(reason).increment(1);
            }
        }
        Ok(fates)
    }
}

/// Messages whose outcome is not known when this is dropped.
struct Unknown<'a> {
    metrics: &'a Metrics,
    batch: &'a [Outgoing],
}

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        for message in self.batch {
            self.metrics.published.of(To::of(&message.exchange), Confirm::Unknown).increment(1);
        }
    }
}
