//! A session's connections to the broker.

use tracing::warn;

use super::context::Context;
use crate::broker::BrokerError;
use crate::broker::connection::Connection;

/// A connection that the broker blocks cannot acknowledge either, so publishing has its own.
pub struct Connections {
    /// Consumes and acknowledges.
    pub consume: Connection,
    pub publish: Connection,
}

impl Connections {
    pub async fn open(context: &Context) -> Result<Self, BrokerError> {
        let broker = &context.settings.broker;
        let name = |purpose: &str| format!("holdfast {} {purpose}", context.id);
        let consume = broker.connect_for_commands(&name("consume")).await?;
        let publish = broker.connect_to_publish(&name("publish")).await?;
        Ok(Self { consume, publish })
    }

    pub fn alive(&self) -> bool {
        self.consume.is_alive() && self.publish.is_alive()
    }

    pub async fn close(&self) {
        for connection in [&self.consume, &self.publish] {
            if let Err(error) = connection.close().await {
                warn!(%error, "a connection was not closed in order");
            }
        }
    }
}
