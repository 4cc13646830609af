//! Answers and dead letters as messages.

use chrono::SecondsFormat;
use uuid::Uuid;

use super::about::about;
use crate::broker::partition_probe::answer_key;
use crate::broker::publisher::Outgoing;
use crate::broker::topology::{DEAD, REPLIES_EXCHANGE};
use crate::domain::interval::Timestamp;
use crate::domain::outcome::Refusal;
use crate::engine::render::{Reply, refused};
use crate::message::dead_letter::{DEAD_LETTER_TYPE, forbidden, header, letter_id};
use crate::message::deterministic_id;
use crate::message::envelope::{BODY_LEN_MAX, DeadReason, Received, trace_headers};

const JSON: &str = "application/json";

/// Repeats of an answer have the same id and a new `sent-at`.
pub fn answer(reply: Reply, received: &Received, now: Timestamp) -> Outgoing {
    // The body counts, too: a refusal without a decision may be followed by a decision.
    let id = reply.message_id.as_deref().unwrap_or_default();
    let name = format!("answer/{}/{id}/{}", reply.terminal, reply.body);
    let mut headers = vec![("sent-at", now.to_rfc3339_opts(SecondsFormat::Millis, true))];
    headers.extend(trace_headers(received.trace.as_ref()));
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

/// `partition` is the one whose queue it came from, `None` for the queries' queue. `account` is the
/// worker's, by which the letter is told from what the broker dead-letters. Received headers are never copied,
/// except the trace: some steer the broker.
pub fn dead_letter(
    received: &Received,
    reason: DeadReason,
    partition: Option<i32>,
    account: &str,
    now: Timestamp,
) -> Outgoing {
    about!(warn, partition, received, reason = reason.as_str(), "dead letter");
    let mut body = received.body.clone();
    let cut = body.len() > BODY_LEN_MAX;
    body.truncate(BODY_LEN_MAX);
    let mut headers = vec![
        (header::REASON, reason.as_str().to_owned()),
        (header::ROUTING_KEY, received.routing_key.clone()),
        (header::DIED_AT, now.to_rfc3339_opts(SecondsFormat::Millis, true)),
    ];
    let optional = [
        (header::PARTITION, partition.map(|partition| partition.to_string())),
        (header::ACCOUNT, received.user_id.clone()),
        (header::MESSAGE_ID, received.message_id.clone()),
        (header::TYPE, received.kind.clone()),
        (header::CONTENT_TYPE, received.content_type.clone()),
        (header::CONTENT_ENCODING, received.content_encoding.clone()),
        (header::FORBIDDEN, forbidden(received).map(str::to_owned)),
        (header::CUT, cut.then(|| "yes".to_owned())),
    ];
    headers.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    headers.extend(trace_headers(received.trace.as_ref()));
    Outgoing {
        exchange: DEAD.to_owned(),
        routing_key: reason.as_str().to_owned(),
        message_id: letter_id(received).to_string(),
        type_name: DEAD_LETTER_TYPE.to_owned(),
        correlation_id: None,
        content_type: "application/octet-stream",
        user_id: Some(account.to_owned()),
        headers,
        body,
        persistent: true,
    }
}
