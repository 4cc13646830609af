//! Answers and dead letters as messages.

use chrono::SecondsFormat;
use tracing::warn;
use uuid::Uuid;

use crate::broker::partition_probe::answer_key;
use crate::broker::publisher::Outgoing;
use crate::broker::topology::{DEAD, REPLIES_EXCHANGE};
use crate::domain::interval::Timestamp;
use crate::domain::outcome::Refusal;
use crate::engine::render::{Reply, refused};
use crate::message::deterministic_id;
use crate::message::envelope::{BODY_LEN_MAX, DeadReason, Received, printable};

const JSON: &str = "application/json";

/// Repeats of an answer have the same id and a new `sent-at`.
pub fn answer(reply: Reply, received: &Received, now: Timestamp) -> Outgoing {
    // The body counts, too: a refusal without a decision may be followed by a decision.
    let id = reply.message_id.as_deref().unwrap_or_default();
    let name = format!("answer/{}/{id}/{}", reply.terminal, reply.body);
    let mut headers = vec![("sent-at", now.to_rfc3339_opts(SecondsFormat::Millis, true))];
    headers.extend(received.traceparent.clone().map(|trace| ("traceparent", trace)));
    Outgoing {
        exchange: REPLIES_EXCHANGE.to_owned(),
        routing_key: reply.terminal,
        message_id: deterministic_id(&name).to_string(),
        type_name: reply.type_name,
        correlation_id: reply.message_id,
        content_type: JSON,
        user_id: None,
        headers,
        body: reply.body.into_bytes(),
        persistent: true,
    }
}

/// A refusal without a decision. It is transient, so the broker confirms it without a disk write,
/// and a flood does not delay others. Sending the message again reproduces it. See
/// `docs/decisions/0014-refusals-without-a-decision-are-not-persistent.md`.
pub fn refusal(
    terminal: &str,
    message_id: Option<&str>,
    refusal: &Refusal,
    received: &Received,
    now: Timestamp,
) -> Outgoing {
    let reply = refused(terminal, message_id, refusal);
    Outgoing { persistent: false, ..answer(reply, received, now) }
}

/// The answer to a query. It is transient: asked again, the query brings a newer one.
pub fn answer_to_query(reply: Reply, received: &Received, now: Timestamp) -> Outgoing {
    Outgoing { persistent: false, ..answer(reply, received, now) }
}

/// Shows that a probe went through a queue and its worker. If nobody waits for it any more, it goes nowhere.
pub fn answer_to_probe(id: Uuid, worker: Uuid) -> Outgoing {
    Outgoing {
        exchange: REPLIES_EXCHANGE.to_owned(),
        routing_key: answer_key(id),
        message_id: id.to_string(),
        type_name: "probe_answer".to_owned(),
        correlation_id: Some(id.to_string()),
        content_type: JSON,
        user_id: None,
        headers: Vec::new(),
        body: format!("{{\"worker\":\"{worker}\"}}").into_bytes(),
        persistent: false,
    }
}

/// `partition` is the one whose queue it came from, `None` for the queries' queue. Received headers
/// are never copied: some steer the broker.
pub fn dead_letter(received: &Received, reason: DeadReason, partition: Option<i32>) -> Outgoing {
    warn!(partition, reason = reason.as_str(), "dead letter");
    let mut headers = vec![
        ("reason", reason.as_str().to_owned()),
        ("routing-key", printable(&received.routing_key)),
    ];
    headers.extend(partition.map(|partition| ("partition", partition.to_string())));
    headers.extend(received.user_id.as_deref().map(|account| ("account", printable(account))));
    headers.extend(received.message_id.as_deref().map(|id| ("original-id", printable(id))));
    let mut body = received.body.clone();
    body.truncate(BODY_LEN_MAX);
    let digest = format!("dead/{}/{:?}/{:?}", reason.as_str(), received.message_id, body);
    Outgoing {
        exchange: DEAD.to_owned(),
        routing_key: reason.as_str().to_owned(),
        message_id: deterministic_id(&digest).to_string(),
        type_name: "dead_letter".to_owned(),
        correlation_id: None,
        content_type: "application/octet-stream",
        user_id: None,
        headers,
        body,
        persistent: true,
    }
}
