//! Publishes fences: with one at the tail of its old partition, a server moves in queue order.
//!
//! See `docs/decisions/0023-servers-move-behind-a-fence.md`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connections::Connections;
use super::context::Context;
use super::publisher::Publisher;
use super::schedule;
use crate::backoff;
use crate::broker::BrokerError;
use crate::broker::publisher::Outgoing;
use crate::store::error::StoreError;
use crate::store::moves::claim_fences;

#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Looks for moves when notified, and at every sweep interval.
pub async fn run(context: Arc<Context>, connections: Arc<Connections>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = publish_fences(&context, &connections).await {
            warn!(%error, "fences were not published");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = context.moves_notified.notified() => {}
            () = tokio::time::sleep(backoff::spread(context.settings.sweep_interval)) => {}
        }
    }
}

async fn publish_fences(context: &Context, connections: &Connections) -> Result<(), MoveError> {
    let fences = claim_fences(&context.pool).await?;
    if fences.is_empty() {
        return Ok(());
    }
    info!(fences = fences.len(), "servers move");
    let messages: Vec<Outgoing> = fences
        .iter()
        .map(|(partition, fence)| schedule::fence_to_tail(context, *partition, fence))
        .collect();
    let mut publisher = Publisher::open(context, &connections.publish).await?;
    publisher.publish(&messages).await?;
    Ok(())
}
