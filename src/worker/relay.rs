//! Publishes what remains in the outbox: messages of lost workers, bills without a queue, and operators'
//! messages.
//!
//! It publishes before it deletes: after a crash in between, the next relay publishes the same ids
//! and bytes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connections::Connections;
use super::context::Context;
use super::messages;
use super::publisher::Publisher;
use crate::broker::BrokerError;
use crate::crash_point;
use crate::store::error::StoreError;
use crate::store::outbox;

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Publish(#[from] messages::PublishError),
}

/// Runs at every sweep interval and when an operator wrote messages. Makes a last round at `stop`.
pub async fn run(context: Arc<Context>, connections: Arc<Connections>, stop: CancellationToken) {
    let mut publisher = None;
    loop {
        if let Err(error) = drain(&context, &connections, &mut publisher).await {
            warn!(%error, "relay failed");
            publisher = None;
        }
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = context.outbox_notified.notified() => {}
            () = tokio::time::sleep(context.settings.sweep_interval) => {}
        }
    }
}

async fn drain(
    context: &Context,
    connections: &Connections,
    publisher: &mut Option<Publisher>,
) -> Result<(), RelayError> {
    outbox::recover(&context.pool).await?;
    while let Some(claim) = outbox::claim(&context.pool).await? {
        crash_point!("relay-claimed");
        let publisher = match publisher {
            Some(publisher) => publisher,
            None => publisher.insert(Publisher::open(context, &connections.publish).await?),
        };
        let published = messages::publish(context, publisher, &claim.pending).await?;
        crash_point!("relay-confirmed");
        claim.finish(&published.done, &published.retry).await?;
        crash_point!("relay-deleted");
    }
    Ok(())
}
