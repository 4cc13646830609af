//! The last stage. See `docs/decisions/0002-unacknowledged-delivery-is-the-outbox.md`.

use std::sync::Arc;

use super::error::PartitionError;
use super::stages::{Acknowledged, Published};
use crate::broker::consumer::Acknowledger;
use crate::crash_point;
use crate::store::delivery_attempts;
use crate::worker::context::Context;

pub(super) struct Acknowledgements {
    pub context: Arc<Context>,
    pub partition: i32,
    pub acknowledger: Acknowledger,
}

impl Acknowledgements {
    /// Acknowledges everything up to the batch's last delivery. The attempts at isolated messages
    /// are cleared first: they did not crash the worker.
    pub async fn acknowledge(&self, published: Published) -> Result<Acknowledged, PartitionError> {
        let Published { isolated, deferred, span, last_tag } = published;
        let _acknowledging = span.phase("acknowledge");
        if !isolated.is_empty() {
            delivery_attempts::clear(&self.context.pool, self.partition, &isolated).await?;
        }
        self.acknowledger.ack_through(last_tag).await?;
        crash_point!("acknowledged");
        Ok(Acknowledged { deferred })
    }
}
