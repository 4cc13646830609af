//! Dead letters: messages that nobody could decide, and what is known of them.
//!
//! A worker's letter has the original envelope in its headers, and its own account as `user_id`, which the
//! broker validates. What the broker itself dead-letters has the sender's headers, which say nothing.
//!
//! An operator replays a letter by a message that only *names* it. What is decided is what the database
//! keeps, so nobody forges a sender with it: see `docs/decisions/0036-dead-letters-are-filed.md`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::deterministic_id;
use super::envelope::{BODY_LEN_MAX, DeadReason, Received, is_forbidden_header};
use crate::domain::interval::Timestamp;
use crate::domain::trace::Trace;

/// `type` of a worker's dead letter.
pub const DEAD_LETTER_TYPE: &str = "dead_letter";

/// `type` of a message that names a letter to decide once more.
pub const REPLAY_TYPE: &str = "replay";

/// The reason of what the broker has dead-lettered, or could not route.
pub const BY_BROKER: &str = "by_broker";

/// Headers of a worker's letter.
pub mod header {
    /// [`DeadReason`](super::DeadReason).
    pub const REASON: &str = "reason";
    /// The original routing key.
    pub const ROUTING_KEY: &str = "routing-key";
    /// The partition whose queue it came from; none for a query.
    pub const PARTITION: &str = "partition";
    /// The original `user_id`.
    pub const ACCOUNT: &str = "account";
    /// The original message id.
    pub const MESSAGE_ID: &str = "original-id";
    /// The original `type`.
    pub const TYPE: &str = "original-type";
    /// The original content type.
    pub const CONTENT_TYPE: &str = "original-content-type";
    /// The original content encoding.
    pub const CONTENT_ENCODING: &str = "original-content-encoding";
    /// A forbidden header or property of the original.
    pub const FORBIDDEN: &str = "forbidden";
    /// When it died, by the database's clock.
    pub const DIED_AT: &str = "died-at";
    /// Set if only the body's beginning was kept.
    pub const CUT: &str = "cut";

    /// All of them.
    pub const ALL: [&str; 11] = [
        REASON,
        ROUTING_KEY,
        PARTITION,
        ACCOUNT,
        MESSAGE_ID,
        TYPE,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        FORBIDDEN,
        DIED_AT,
        CUT,
    ];
}

/// A dead letter; `None`: not set, or unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Of the letter. The same message is the same letter.
    pub id: Uuid,
    /// [`DeadReason`], or [`BY_BROKER`].
    pub reason: String,
    /// Whether a worker says all this, and the body is whole.
    pub exact: bool,
    /// The partition whose queue it came from.
    pub partition: Option<i32>,
    /// The sender's account, validated by the broker.
    pub account: Option<String>,
    /// Routing key.
    pub routing_key: String,
    /// Property `message_id`.
    pub message_id: Option<String>,
    /// Property `type`.
    pub kind: Option<String>,
    /// Property `content_type`.
    pub content_type: Option<String>,
    /// Property `content_encoding`.
    pub content_encoding: Option<String>,
    /// A forbidden header, or a forbidden property.
    pub forbidden: Option<String>,
    /// W3C trace context.
    pub trace: Option<Trace>,
    /// When it died; `None`: not long before it was filed.
    pub died_at: Option<Timestamp>,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

impl DeadLetter {
    /// Why no replay can help; `None` if one may. Only what a terminal vouches for can be decided, and a
    /// query is better asked again.
    pub fn hopeless(&self) -> Option<&'static str> {
        let reason = self.reason.as_str();
        if reason == BY_BROKER {
            return Some("the broker dead-lettered it, and did not keep what its worker needs");
        }
        if [DeadReason::InvalidWakeUp, DeadReason::InvalidFence]
            .map(DeadReason::as_str)
            .contains(&reason)
        {
            return Some("a worker sent it; the sweep sends another, if anything is due");
        }
        if reason == DeadReason::Unauthenticated.as_str() {
            return Some("no terminal vouches for it");
        }
        if self.partition.is_none() {
            return Some("it is a query, which is asked again");
        }
        (!self.exact).then_some("it was not kept whole")
    }

    /// The message as it was received, for another decision.
    pub fn to_received(&self) -> Received {
        let forbidden = self.forbidden.clone();
        let property = ["priority", "expiration"]
            .into_iter()
            .filter(|property| forbidden.as_deref() == Some(property))
            .collect::<Vec<_>>();
        let headers = forbidden.into_iter().filter(|name| is_forbidden_header(name)).collect();
        Received {
            routing_key: self.routing_key.clone(),
            user_id: self.account.clone(),
            message_id: self.message_id.clone(),
            kind: self.kind.clone(),
            content_type: self.content_type.clone(),
            content_encoding: self.content_encoding.clone(),
            forbidden_properties: property,
            header_names: headers,
            trace: self.trace.clone(),
            enqueued_at: None,
            delivery_count: 0,
            redelivered: false,
            from_ladder: false,
            replay_of: Some(self.id),
            body: self.body.clone(),
        }
    }
}

/// The id of a message's letter. One that dies in a replay stays the same letter.
pub fn letter_id(received: &Received) -> Uuid {
    received.replay_of.unwrap_or_else(|| {
        let Received { user_id, message_id, routing_key, .. } = received;
        let body = &received.body[..received.body.len().min(BODY_LEN_MAX)];
        deterministic_id(&format!("dead/{user_id:?}/{message_id:?}/{routing_key:?}/{body:?}"))
    })
}

/// The first header or property that makes a message refused.
pub fn forbidden(received: &Received) -> Option<&str> {
    let property = received.forbidden_properties.first().copied();
    let header = || received.header_names.iter().find(|name| is_forbidden_header(name));
    property.or_else(|| header().map(String::as_str))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    letter: Uuid,
}

/// The body of a message that replays a letter.
pub fn encode_replay(letter: Uuid) -> Vec<u8> {
    serde_json::to_vec(&ReplayBody { letter }).expect("an id always serializes")
}

/// The letter that a message asks to replay; `None`: it does not.
pub fn replayed(kind: Option<&str>, body: &[u8]) -> Option<Uuid> {
    let body: ReplayBody =
        (kind == Some(REPLAY_TYPE)).then(|| serde_json::from_slice(body).ok()).flatten()?;
    Some(body.letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(reason: &str) -> DeadLetter {
        DeadLetter {
            id: Uuid::from_u128(1),
            reason: reason.to_owned(),
            exact: true,
            partition: Some(0),
            account: Some("ann".to_owned()),
            routing_key: "ann.request.cam".to_owned(),
            message_id: Some("m".to_owned()),
            kind: None,
            content_type: Some("application/json".to_owned()),
            content_encoding: None,
            forbidden: None,
            trace: None,
            died_at: None,
            body: b"{}".to_vec(),
        }
    }

    #[test]
    fn only_what_a_terminal_vouches_for_is_replayed() {
        for (reason, hopeful) in [
            (DeadReason::InternalError.as_str(), true),
            (DeadReason::UnknownTerminal.as_str(), true),
            (DeadReason::Unauthenticated.as_str(), false),
            (DeadReason::InvalidWakeUp.as_str(), false),
            (DeadReason::InvalidFence.as_str(), false),
            (BY_BROKER, false),
        ] {
            assert_eq!(letter(reason).hopeless().is_none(), hopeful, "{reason}");
        }
        let query = DeadLetter { partition: None, ..letter(DeadReason::UnknownTerminal.as_str()) };
        assert!(query.hopeless().is_some());
        assert!(
            DeadLetter { exact: false, ..letter(DeadReason::InternalError.as_str()) }
                .hopeless()
                .is_some()
        );
    }

    #[test]
    fn a_replay_is_refused_for_the_same_header() {
        for forbidden in ["X-Death", "cc", "priority", "expiration"] {
            let letter = DeadLetter {
                forbidden: Some(forbidden.to_owned()),
                ..letter(DeadReason::InternalError.as_str())
            };
            let received = letter.to_received();
            assert_eq!(super::forbidden(&received), Some(forbidden));
            assert_eq!(letter_id(&received), letter.id);
        }
        assert_eq!(
            super::forbidden(&letter(DeadReason::InternalError.as_str()).to_received()),
            None
        );
    }

    #[test]
    fn a_message_names_a_letter_or_it_is_no_replay() {
        let id = Uuid::from_u128(7);
        assert_eq!(replayed(Some(REPLAY_TYPE), &encode_replay(id)), Some(id));
        assert_eq!(replayed(None, &encode_replay(id)), None);
        assert_eq!(replayed(Some(REPLAY_TYPE), b"{}"), None);
    }
}
