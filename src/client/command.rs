//! A terminal's commands.

use serde::Serialize;
use uuid::Uuid;

use crate::broker::publisher::Outgoing;
use crate::broker::topology::COMMANDS_EXCHANGE;
use crate::domain::interval::Timestamp;
use crate::domain::trace::Trace;
use crate::message::command::{Kind, RequestBody, ReservationBody};
use crate::message::envelope::trace_headers;
use crate::message::query::{AvailabilityBody, ListBody};

/// A command. Public fields let tests send wrong ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Second word of the routing key, and the property `type`.
    pub kind: Kind,
    /// Last word of the routing key; `None` for queries.
    pub server: Option<String>,
    /// A repeated id is decided once and gets the same answer.
    pub message_id: String,
    /// The body.
    pub body: Vec<u8>,
    /// The sender's trace. A repeat may bring another one.
    pub trace: Option<Trace>,
}

impl Command {
    /// Requests `server` from `start_at` until `end_at`.
    pub fn request(
        message_id: impl Into<String>,
        server: &str,
        start_at: Timestamp,
        end_at: Timestamp,
    ) -> Self {
        let body = RequestBody { start_at, end_at };
        Self::new(Kind::Request, Some(server), message_id, &body)
    }

    /// Reconfirms a reservation of `server`.
    pub fn reconfirm(message_id: impl Into<String>, server: &str, reservation: Uuid) -> Self {
        Self::new(Kind::Reconfirm, Some(server), message_id, &ReservationBody { reservation })
    }

    /// Withdraws a reservation of `server`.
    pub fn withdraw(message_id: impl Into<String>, server: &str, reservation: Uuid) -> Self {
        Self::new(Kind::Withdraw, Some(server), message_id, &ReservationBody { reservation })
    }

    /// Queries a reservation.
    pub fn show(message_id: impl Into<String>, reservation: Uuid) -> Self {
        Self::new(Kind::Show, None, message_id, &ReservationBody { reservation })
    }

    /// Lists the user's reservations, newest first: at most `limit` (default: Holdfast's), after
    /// the reservation `after`.
    pub fn list(message_id: impl Into<String>, limit: Option<i64>, after: Option<Uuid>) -> Self {
        Self::new(Kind::List, None, message_id, &ListBody { limit, after })
    }

    /// Queries the free places of `server` from `start_at` until `end_at`.
    pub fn availability(
        message_id: impl Into<String>,
        server: &str,
        start_at: Timestamp,
        end_at: Timestamp,
    ) -> Self {
        let body = AvailabilityBody { server: server.to_owned(), start_at, end_at };
        Self::new(Kind::Availability, None, message_id, &body)
    }

    /// Sends it within a trace, which comes back with the answer and with all that follows from it.
    pub fn traced(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    fn new(
        kind: Kind,
        server: Option<&str>,
        message_id: impl Into<String>,
        body: &impl Serialize,
    ) -> Self {
        Self {
            kind,
            server: server.map(str::to_owned),
            message_id: message_id.into(),
            body: serde_json::to_vec(body).expect("a command always serializes"),
            trace: None,
        }
    }

    /// `<terminal>.<command>.<server>`, or `<terminal>.<query>`.
    fn routing_key(&self, account: &str) -> String {
        let kind = self.kind.as_str();
        match &self.server {
            Some(server) => format!("{account}.{kind}.{server}"),
            None => format!("{account}.{kind}"),
        }
    }

    /// The message to publish as `account`.
    pub(super) fn outgoing(&self, account: &str) -> Outgoing {
        Outgoing {
            exchange: COMMANDS_EXCHANGE.to_owned(),
            routing_key: self.routing_key(account),
            message_id: self.message_id.clone(),
            type_name: self.kind.as_str().to_owned(),
            correlation_id: None,
            content_type: "application/json",
            user_id: Some(account.to_owned()),
            headers: trace_headers(self.trace.as_ref()).collect(),
            body: self.body.clone(),
            persistent: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn a_command_is_published_under_the_terminals_name() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let outgoing = Command::request("m-1", "gpu-1", at(0), at(60)).outgoing("t-1");
        assert_eq!(outgoing.routing_key, "t-1.request.gpu-1");
        assert_eq!(outgoing.user_id.as_deref(), Some("t-1"));
        assert_eq!(
            String::from_utf8(outgoing.body).unwrap(),
            r#"{"start_at":"1970-01-01T00:00:00Z","end_at":"1970-01-01T00:01:00Z"}"#
        );
    }

    #[test]
    fn commands_name_their_server_and_queries_do_not() {
        let id = Uuid::nil();
        for command in [
            Command::reconfirm("m", "s", id),
            Command::withdraw("m", "s", id),
            Command::show("m", id),
            Command::list("m", None, None),
            Command::availability("m", "s", DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH),
        ] {
            assert_eq!(command.server.is_none(), command.kind.is_query());
        }
    }
}
