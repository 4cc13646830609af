//! From a published batch to acknowledged deliveries.
//!
//! See `docs/decisions/0002-unacknowledged-delivery-is-the-outbox.md`.

use std::sync::Arc;

use super::error::PartitionError;
use super::stages::{Acknowledged, Published};
use crate::broker::consumer::Acknowledger;
use crate::crash_point;
use crate::store::delivery_attempts;
use crate::worker::context::Context;

/// Acknowledges one partition's deliveries.
pub(super) struct Acknowledgements {
    pub context: Arc<Context>,
    pub partition: i32,
    pub acknowledger: Acknowledger,
}

impl Acknowledgements {
    /// Acknowledges everything up to the batch's last delivery. Its isolated messages are cleared
    /// before: they have not crashed the worker.
    pub async fn acknowledge(&self, published: Published) -> Result<Acknowledged, PartitionError> {
        let Published { isolated, deferred, last_tag } = published;
        if !isolated.is_empty() {
            delivery_attempts::clear(&self.context.pool, self.partition, &isolated).await?;
        }
        self.acknowledger.ack_through(last_tag).await?;
        crash_point!("acknowledged");
        Ok(Acknowledged { deferred })
    }
}
