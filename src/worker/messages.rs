//! Publishes outbox messages: events to subscribers, notices to terminals.

use chrono::SecondsFormat;
use tracing::warn;

use super::context::Context;
use crate::broker::BrokerError;
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::broker::topology::{EVENTS_EXCHANGE, REPLIES_EXCHANGE};
use crate::message::event;
use crate::store::outbox::Pending;

/// Outbox sequence numbers by result.
#[derive(Default)]
pub struct Published {
    /// To be deleted.
    pub done: Vec<i64>,
    /// To be retried.
    pub retry: Vec<i64>,
}

/// After an error the outcome of each message is unknown.
pub async fn publish(
    context: &Context,
    publisher: &mut Publisher,
    pending: &[Pending],
) -> Result<Published, BrokerError> {
    let messages: Vec<Outgoing> =
        pending.iter().map(|pending| outgoing(context, pending)).collect();
    let fates = publisher.publish(&messages).await?;
    let mut published = Published::default();
    for (pending, fate) in pending.iter().zip(fates) {
        match is_done(pending, fate) {
            true => published.done.push(pending.seq),
            false => published.retry.push(pending.seq),
        }
    }
    Ok(published)
}

/// Only billing events require a queue. A refused event is retried; a notice is not, because its
/// terminal can query the contents.
fn is_done(pending: &Pending, fate: Fate) -> bool {
    let done = match fate {
        Fate::Routed => true,
        Fate::Unroutable => !pending.must_route,
        Fate::Refused => !pending.is_event,
    };
    if !done {
        warn!(id = %pending.id, ?fate, "the broker did not take an outbox message; it is retried");
    }
    done
}

fn outgoing(context: &Context, pending: &Pending) -> Outgoing {
    let (exchange, content_type) = match pending.is_event {
        true => (EVENTS_EXCHANGE, event::CONTENT_TYPE),
        false => (REPLIES_EXCHANGE, "application/json"),
    };
    let mut headers = Vec::new();
    if !pending.is_event {
        let now = context.clock.now();
        headers.push(("sent-at", now.to_rfc3339_opts(SecondsFormat::Millis, true)));
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
