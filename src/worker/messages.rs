//! Publishes outbox messages: bills to the biller, notices to terminals. Their exchanges lead to queues of
//! ours alone, so a refusal is about the message's own queue.

use chrono::SecondsFormat;
use tracing::warn;
use uuid::Uuid;

use super::access;
use super::context::Context;
use super::publisher::Publisher;
use crate::broker::BrokerError;
use crate::broker::publisher::{Fate, Outgoing};
use crate::broker::topology::{BILLING_EXCHANGE, BILLING_QUEUE, EVENTS_EXCHANGE, REPLIES_EXCHANGE};
use crate::domain::interval::Timestamp;
use crate::engine::spans::{Phase, publishing};
use crate::message::answer::Notice;
use crate::message::envelope::trace_headers;
use crate::message::event;
use crate::store::error::StoreError;
use crate::store::outbox::Pending;

/// Outbox sequence numbers by result.
#[derive(Default)]
pub struct Published {
    /// To be deleted.
    pub done: Vec<i64>,
    /// To be retried.
    pub retry: Vec<i64>,
}

/// Why messages were not published, or perhaps not.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Access keys could not be read; nothing was published.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The outcome of each message is unknown.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Access keys are added here, on the way: what is stored has none.
pub async fn publish(
    context: &Context,
    publisher: &mut Publisher,
    pending: &[Pending],
) -> Result<Published, PublishError> {
    let messages: Vec<Outgoing> = outgoing(context, pending).await?;
    let spans: Vec<Phase> = pending.iter().map(span).collect();
    let fates = publisher.publish(&messages).await?;
    drop(spans);
    let mut published = Published::default();
    for (pending, fate) in pending.iter().zip(fates) {
        match is_done(pending, fate) {
            true => published.done.push(pending.seq),
            false => published.retry.push(pending.seq),
        }
    }
    if let Some(first) = published.retry.first() {
        let id = pending.iter().find(|pending| pending.seq == *first).map(|pending| pending.id);
        warn!(
            bills = published.retry.len(),
            first = ?id,
            "the queue {BILLING_QUEUE} is full or missing; its bills are retried until it takes them"
        );
    }
    Ok(published)
}

/// Of publishing it, which may be days after the command that led to it.
pub fn span(pending: &Pending) -> Phase {
    publishing(&pending.type_name, pending.id, pending.trace.as_ref())
}

/// Only bills require a queue. A refused notice is not retried: its terminal can query the contents.
fn is_done(pending: &Pending, fate: Fate) -> bool {
    !pending.is_event || fate == Fate::Routed
}

async fn outgoing(context: &Context, pending: &[Pending]) -> Result<Vec<Outgoing>, StoreError> {
    let mut notices: Vec<Option<Notice>> = pending.iter().map(confirmation).collect();
    let confirmed = notices.iter().flatten().map(|notice| notice.reservation().id);
    let mut keys = access::keys(context, &confirmed.collect::<Vec<Uuid>>()).await?;
    let now = context.clock.now();
    for notice in notices.iter_mut().flatten() {
        notice.hand_over(keys.remove(&notice.reservation().id), now);
    }
    let message = |(pending, notice): (&Pending, &Option<Notice>)| match notice {
        Some(completed) => notice_to(pending, completed.to_json(), now),
        None if pending.is_event => {
            Outgoing { exchange: BILLING_EXCHANGE.to_owned(), ..copy(pending) }
        }
        None => notice_to(pending, pending.body.clone(), now),
    };
    Ok(pending.iter().zip(&notices).map(message).collect())
}

/// The notice of a confirmation, which is completed as it is sent.
fn confirmation(pending: &Pending) -> Option<Notice> {
    if pending.is_event || pending.type_name != event::CONFIRMED {
        return None;
    }
    serde_json::from_str(&pending.body).ok()
}

/// An event's copy, for subscribers.
pub fn copy(event: &Pending) -> Outgoing {
    Outgoing {
        exchange: EVENTS_EXCHANGE.to_owned(),
        routing_key: event.routing_key.clone(),
        message_id: event.id.to_string(),
        type_name: event.type_name.clone(),
        correlation_id: None,
        content_type: event::CONTENT_TYPE,
        user_id: None,
        headers: trace_headers(event.trace.as_ref()).collect(),
        body: event.body.clone().into_bytes(),
        persistent: true,
    }
}

fn notice_to(pending: &Pending, body: String, now: Timestamp) -> Outgoing {
    let mut notice = copy(pending);
    notice.body = body.into_bytes();
    notice.headers.push(("sent-at", now.to_rfc3339_opts(SecondsFormat::Millis, true)));
    Outgoing { exchange: REPLIES_EXCHANGE.to_owned(), content_type: "application/json", ..notice }
}
