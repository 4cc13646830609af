//! Tells events and notices that were written with the decisions that caused them, where whoever
//! wrote them ([`super::announce`]) has not: the net under the pipelines.
//!
//! Published, then deleted: a relay that dies in between leaves them to the next one, which sends
//! the same ids and bytes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use super::session::Connections;
use crate::broker::BrokerError;
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::broker::topology::{EVENTS_EXCHANGE, REPLIES_EXCHANGE};
use crate::crash_point;
use crate::message::event;
use crate::store::error::StoreError;
use crate::store::outbox::{self, Pending};

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Relays whenever an operator has announced something, and at every sweep interval what workers
/// have left: because they are gone, or because a billing event found no queue. Makes a last round
/// when stopped.
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
            () = context.announced.notified() => {}
            () = tokio::time::sleep(context.settings.sweep_interval) => {}
        }
    }
}

/// Relays until nothing is ready.
async fn drain(
    context: &Context,
    connections: &Connections,
    publisher: &mut Option<Publisher>,
) -> Result<(), RelayError> {
    while let Some(claim) = outbox::claim(&context.pool).await? {
        crash_point!("relay-claimed");
        let publisher = match publisher {
            Some(publisher) => publisher,
            None => publisher.insert(Publisher::open(&connections.publish).await?),
        };
        let messages: Vec<Outgoing> =
            claim.pending.iter().map(|pending| outgoing(context, pending)).collect();
        let fates = publisher.publish(&messages).await?;
        crash_point!("relay-confirmed");
        let (mut done, mut retry) = (Vec::new(), Vec::new());
        for (pending, fate) in claim.pending.iter().zip(fates) {
            if is_done(pending, fate) {
                done.push(pending.seq);
            } else {
                retry.push(pending.seq);
            }
        }
        claim.finish(&done, &retry).await?;
        crash_point!("relay-deleted");
    }
    Ok(())
}

/// Notices and events that nobody has to see are done even without a queue; a notice's contents
/// can be asked for. Billing events are retried.
pub(super) fn is_done(pending: &Pending, fate: Fate) -> bool {
    let done = match fate {
        Fate::Routed => true,
        Fate::Unroutable => !pending.must_route,
        Fate::Refused => !pending.is_event,
    };
    if !done {
        warn!(id = %pending.id, ?fate, "a billing event found no queue; it is retried");
    }
    done
}

pub(super) fn outgoing(context: &Context, pending: &Pending) -> Outgoing {
    let (exchange, content_type) = match pending.is_event {
        true => (EVENTS_EXCHANGE, event::CONTENT_TYPE),
        false => (REPLIES_EXCHANGE, "application/json"),
    };
    let mut headers = Vec::new();
    if !pending.is_event {
        let now = context.clock.now();
        headers.push(("sent-at", now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)));
    }
    Outgoing {
        exchange: exchange.to_owned(),
        routing_key: pending.routing_key.clone(),
        message_id: pending.id.to_string(),
        type_name: pending.type_name.clone(),
        correlation_id: None,
        content_type,
        user_id: None,
        headers,
        body: pending.body.clone().into_bytes(),
        persistent: true,
    }
}
