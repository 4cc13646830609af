//! A received message, independent of the AMQP library, and its envelope checks.

use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::domain::id::TerminalId;
use crate::domain::interval::Timestamp;
use crate::domain::limit::{Limit, Relation, Unit};
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;
use crate::domain::trace::Trace;

/// Maximum body, in bytes; the longest command needs a few hundred.
pub const BODY_LEN_MAX: usize = 16 * 1024;

/// Maximum message id, in bytes. AMQP allows 255; ids are indexed.
pub const MESSAGE_ID_LEN_MAX: usize = 128;

/// The `type` of a wake-up.
pub const WAKE_UP_TYPE: &str = "wake_up";

/// `type` of a fence.
pub const FENCE_TYPE: &str = "fence";

/// `type` of a message that only has to arrive. It names no account: nobody vouches for it. It is answered if it
/// came from where no terminal may publish.
pub const PROBE_TYPE: &str = "probe";

/// When the broker got a message, in milliseconds since the Unix epoch, where it is set up to say so. A
/// terminal can set it too, unless the broker overwrites it: it decides nothing.
pub(crate) const ENQUEUED_HEADER: &str = "timestamp_in_ms";

/// Header of the W3C trace context: the trace.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Header of the W3C trace context: the vendors' notes.
pub(crate) const TRACESTATE: &str = "tracestate";

/// Added by the broker on redelivery.
pub(crate) const BROKER_HEADERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// A message from a partition queue; `None`: not set.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Routing key.
    pub routing_key: String,
    /// Publisher's account, validated by the broker.
    pub user_id: Option<String>,
    /// Property `message_id`.
    pub message_id: Option<String>,
    /// Property `type`.
    pub kind: Option<String>,
    /// Property `content_type`.
    pub content_type: Option<String>,
    /// Property `content_encoding`.
    pub content_encoding: Option<String>,
    /// Forbidden properties that are set.
    pub forbidden_properties: Vec<&'static str>,
    /// Header names.
    pub header_names: Vec<String>,
    /// W3C trace context, passed on with what the message causes.
    pub trace: Option<Trace>,
    /// When the broker got it, where the broker says so. Only measured, never decided by.
    pub enqueued_at: Option<Timestamp>,
    /// Whether it came from where wake-ups come, where no terminal may publish.
    pub from_ladder: bool,
    /// Earlier deliveries, counted by the broker.
    pub delivery_count: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The dead letter whose message an operator has replayed.
    pub replay_of: Option<Uuid>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DeadReason {
    /// No `user_id`, or one that cannot be a terminal's.
    Unauthenticated,
    /// Not a registered terminal.
    UnknownTerminal,
    /// An unreadable wake-up.
    InvalidWakeUp,
    /// An unreadable fence.
    InvalidFence,
    /// Repeatedly failed while processed alone.
    InternalError,
}

impl DeadReason {
    /// The dead letter's header `reason`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The inverse of [`DeadReason::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

impl Received {
    /// The sender, if the account can be a terminal's.
    pub fn sender(&self) -> Option<TerminalId> {
        TerminalId::parse(self.user_id.as_deref()?).ok()
    }

    /// Whether it is a wake-up or a fence, if a worker has sent it.
    pub fn claims_to_be_internal(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| [WAKE_UP_TYPE, FENCE_TYPE].contains(&kind))
    }

    /// Checks the envelope in the documented order. Returns the routing key's command word, its
    /// server, if it has one, and the message id.
    pub fn check(&self, sender: &TerminalId) -> Result<(&str, Option<&str>, &str), Refusal> {
        let (terminal, rest) = self.routing_key.split_once('.').unwrap_or((&self.routing_key, ""));
        if terminal != sender.as_str() {
            return Err(Refusal::of_field(Code::ForbiddenTerminal, "routing_key"));
        }
        self.check_headers()?;
        let message_id = self.check_message_id()?;
        self.check_content()?;
        let (word, server) = rest.split_once('.').map_or((rest, None), |(w, s)| (w, Some(s)));
        Ok((word, server, message_id))
    }

    fn check_headers(&self) -> Result<(), Refusal> {
        if let Some(property) = self.forbidden_properties.first() {
            return Err(Refusal::of_field(Code::ForbiddenHeader, *property));
        }
        match self.header_names.iter().find(|name| is_forbidden_header(name)) {
            Some(name) => Err(Refusal::of_field(
                Code::ForbiddenHeader,
                format!("headers.{}", printable(name)),
            )),
            None => Ok(()),
        }
    }

    fn check_message_id(&self) -> Result<&str, Refusal> {
        let Some(id) = self.message_id.as_deref() else {
            return Err(Refusal::of_field(Code::MissingMessageId, "message_id"));
        };
        if !is_message_id(id) {
            let limit = (id.len() > MESSAGE_ID_LEN_MAX).then(|| {
                Box::new(Limit {
                    name: "message_id_characters",
                    relation: Relation::AtMost,
                    value: MESSAGE_ID_LEN_MAX as i64,
                    unit: Unit::Characters,
                    given: i64::try_from(id.chars().count()).ok(),
                })
            });
            let refusal = Refusal::of_field(Code::InvalidMessageId, "message_id");
            return Err(Refusal { limit, ..refusal });
        }
        Ok(id)
    }

    fn check_content(&self) -> Result<(), Refusal> {
        let json = self.content_type.as_deref().is_some_and(|content_type| {
            let media_type = content_type.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("application/json")
        });
        if !json {
            return Err(Refusal::of_field(Code::UnsupportedContent, "content_type"));
        }
        // Never decompress: a small body could unpack to any size.
        if self.content_encoding.as_deref().is_some_and(|encoding| !encoding.is_empty()) {
            return Err(Refusal::of_field(Code::UnsupportedContent, "content_encoding"));
        }
        if self.body.len() > BODY_LEN_MAX {
            // Of a long body only the beginning is kept, so its length is not known here.
            let limit = Limit {
                name: "body_bytes",
                relation: Relation::AtMost,
                value: BODY_LEN_MAX as i64,
                unit: Unit::Bytes,
                given: None,
            };
            return Err(Refusal::beyond(Code::BodyTooLarge, limit));
        }
        Ok(())
    }

    /// The message id, if valid.
    pub fn usable_message_id(&self) -> Option<&str> {
        self.message_id.as_deref().filter(|id| is_message_id(id))
    }
}

/// Whether a header steers the broker, or looks as if it did.
pub(crate) fn is_forbidden_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower == "cc"
        || lower == "bcc"
        || (lower.starts_with("x-") && !BROKER_HEADERS.contains(&lower.as_str()))
}

fn is_message_id(id: &str) -> bool {
    (1..=MESSAGE_ID_LEN_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

/// The headers that pass a trace on.
pub(crate) fn trace_headers(trace: Option<&Trace>) -> impl Iterator<Item = (&'static str, String)> {
    trace.into_iter().flat_map(|trace| {
        let state = trace.state().map(|state| (TRACESTATE, state.to_owned()));
        std::iter::once((TRACEPARENT, trace.parent().to_string())).chain(state)
    })
}

/// For answers and logs: ASCII, at most 64 characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
