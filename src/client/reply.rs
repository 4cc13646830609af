//! Answers and notices to a terminal.

use chrono::{DateTime, Utc};
use lapin::message::Delivery;
use lapin::types::ShortString;

use crate::broker::consumer::header_text;
use crate::domain::interval::Timestamp;
use crate::domain::trace::Trace;
use crate::message::answer::{Answer, Notice};
use crate::message::envelope::{TRACEPARENT, TRACESTATE};

/// The time of sending, by which a terminal sees its own clock's error.
const SENT_AT: &str = "sent-at";

/// An answer (with a correlation id) or a notice (without).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Message id of the command; `None` for a notice.
    pub correlation_id: Option<String>,
    /// Own id, the same on every sending; empty if missing.
    pub message_id: String,
    /// Such as `reservation.accepted`; empty if missing.
    pub type_name: String,
    /// Time of sending, by Holdfast's clock.
    pub sent_at: Option<Timestamp>,
    /// The trace of the command, or of the one that led to the notice.
    pub trace: Option<Trace>,
    /// The body as received.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as an answer.
    pub fn answer(&self) -> serde_json::Result<Answer> {
        serde_json::from_slice(&self.body)
    }

    /// The body as a notice.
    pub fn notice(&self) -> serde_json::Result<Notice> {
        serde_json::from_slice(&self.body)
    }

    /// Converts a delivery from lapin's types.
    pub(super) fn from_delivery(delivery: Delivery) -> Self {
        let properties = &delivery.properties;
        let owned = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
        let header = |name| {
            let headers = properties.headers().as_ref()?;
            headers.inner().get(name).and_then(header_text)
        };
        let sent_at = header(SENT_AT)
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.with_timezone(&Utc));
        let trace = Trace::read(header(TRACEPARENT), header(TRACESTATE));
        Self {
            correlation_id: owned(properties.correlation_id()),
            message_id: owned(properties.message_id()).unwrap_or_default(),
            type_name: owned(properties.kind()).unwrap_or_default(),
            sent_at,
            trace,
            body: delivery.data,
        }
    }
}
