//! What logs and traces tell of a received message. It decides nothing.

use uuid::Uuid;

use super::command::{Kind, ReservationBody};
use super::envelope::{FENCE_TYPE, Received, WAKE_UP_TYPE, printable};

impl Received {
    /// The message id, perhaps no valid one.
    pub fn shown_id(&self) -> Option<String> {
        self.message_id.as_deref().map(printable)
    }

    /// The sender's account.
    pub fn shown_account(&self) -> Option<String> {
        self.user_id.as_deref().map(printable)
    }

    /// The reservation that it names.
    pub fn reservation(&self) -> Option<Uuid> {
        let body: ReservationBody = serde_json::from_slice(&self.body).ok()?;
        Some(body.reservation)
    }

    /// What it is, in one of few words.
    pub fn word(&self) -> &'static str {
        if let Some(kind) = self.routing_key.split('.').nth(1).and_then(Kind::parse) {
            return kind.as_str();
        }
        let internal = [WAKE_UP_TYPE, FENCE_TYPE];
        internal.into_iter().find(|word| self.kind.as_deref() == Some(word)).unwrap_or("other")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_by_its_word_and_reservation() {
        let received = |routing_key: &str, kind: Option<&str>, body: &str| Received {
            routing_key: routing_key.to_owned(),
            kind: kind.map(str::to_owned),
            body: body.into(),
            ..Received::default()
        };
        let id = "01a207ac-4fe7-70d8-ad75-75af93e63c96";
        let body = format!(r#"{{"reservation":"{id}"}}"#);
        let reconfirm = received("ann.reconfirm.cam", None, &body);
        assert_eq!(reconfirm.word(), "reconfirm");
        assert_eq!(reconfirm.reservation(), Some(id.parse().unwrap()));
        for (message, word) in [
            (received("ann.request.cam", None, "{"), "request"),
            (received("partition.0", Some("wake_up"), ""), "wake_up"),
            (received("", Some("request"), ""), "other"),
        ] {
            assert_eq!((message.word(), message.reservation()), (word, None));
        }
    }
}
