//! A received message, free of any client library's types, and the checks of its envelope.

use strum::IntoStaticStr;

use crate::domain::id::TerminalId;
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;

/// Bodies are refused above this size; the longest command needs a few hundred bytes.
pub const BODY_LEN_MAX: usize = 16 * 1024;

/// Message ids are at most this long: AMQP allows 255 bytes, and they are kept in an index.
pub const MESSAGE_ID_LEN_MAX: usize = 128;

/// The `type` of a wake-up.
pub const WAKE_UP_TYPE: &str = "wake_up";

/// Headers that the broker itself adds on redelivery.
pub(crate) const BROKER_HEADERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// A message as it came out of a partition queue. What was not set is `None`.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Routing key it was published with.
    pub routing_key: String,
    /// The publishing account, validated by the broker.
    pub user_id: Option<String>,
    /// Property `message_id`.
    pub message_id: Option<String>,
    /// Property `type`.
    pub kind: Option<String>,
    /// Property `content_type`.
    pub content_type: Option<String>,
    /// Property `content_encoding`.
    pub content_encoding: Option<String>,
    /// Names of set properties that terminals may not set.
    pub forbidden_properties: Vec<&'static str>,
    /// Header names.
    pub header_names: Vec<String>,
    /// Header `server`: `Err` when it is no text.
    pub server: Option<Result<String, ()>>,
    /// W3C trace context, passed on with the answer.
    pub traceparent: Option<String>,
    /// How often it was delivered before, as counted by the broker.
    pub delivery_count: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a message went to the dead-letter queue instead of being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DeadReason {
    /// No `user_id`, or one that cannot be a terminal's: nobody to answer.
    Unauthenticated,
    /// The account is no registered terminal.
    UnknownTerminal,
    /// A wake-up that cannot be read.
    InvalidWakeUp,
    /// It could not be decided, alone and repeatedly.
    InternalError,
}

impl DeadReason {
    /// The word in the dead letter's header `reason`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Received {
    /// The terminal behind the broker-validated account, if the account's name can be one.
    pub fn sender(&self) -> Option<TerminalId> {
        TerminalId::parse(self.user_id.as_deref()?).ok()
    }

    /// The command word, once the rest of the envelope has been checked in the documented order.
    pub fn check(&self, sender: &TerminalId) -> Result<(&str, &str), Refusal> {
        let (terminal, word) = self.routing_key.split_once('.').unwrap_or((&self.routing_key, ""));
        if terminal != sender.as_str() {
            return Err(Refusal::of_field(Code::ForbiddenTerminal, "routing_key"));
        }
        self.check_headers()?;
        let message_id = self.check_message_id()?;
        self.check_content()?;
        Ok((word, message_id))
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
            return Err(Refusal::of_field(Code::InvalidMessageId, "message_id"));
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
        // Never decompress: a small body could unpack to anything.
        if self.content_encoding.as_deref().is_some_and(|encoding| !encoding.is_empty()) {
            return Err(Refusal::of_field(Code::UnsupportedContent, "content_encoding"));
        }
        if self.body.len() > BODY_LEN_MAX {
            return Err(Refusal::plain(Code::BodyTooLarge));
        }
        Ok(())
    }

    /// The message id as far as it can be repeated to the sender.
    pub fn usable_message_id(&self) -> Option<&str> {
        self.message_id.as_deref().filter(|id| is_message_id(id))
    }
}

/// Whether terminals may not set a header: it would steer the broker, or looks as if it did.
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

/// Whether a text is a W3C trace context, version 00. Anything else is not passed on: a long one
/// would make the answer's headers larger than the broker takes.
pub(crate) fn is_traceparent(text: &str) -> bool {
    text.len() == 55
        && text.bytes().enumerate().all(|(index, b)| match index {
            2 | 35 | 52 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Input that is repeated in an answer or a log: plain ASCII, and short.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
