//! A hook's request, what it tells, and the response.

use chrono::TimeDelta;
use uuid::Uuid;

use crate::domain::admission::admit::Ask;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::Role;

/// A hook's request. The gate's own path token is cut off.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The path that the server was configured with, without its leading slash.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// What a hook tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody asks for something.
    Ask {
        /// What.
        ask: Ask,
        /// What the server needs to find the client later: [`place`](crate::domain::admission::live::Client::place).
        place: String,
    },
    /// A client has left.
    Ended {
        /// What it did.
        role: Role,
        /// The server's id for the connection; empty if it has none.
        id: String,
        /// The stream, where ids alone do not tell.
        stream: Option<String>,
    },
    /// Something that needs no decision.
    Nothing,
    /// The request is incomplete, contradicts itself, or names no reservation: it is denied.
    Wrong(Denial),
}

/// What the gate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Come in, as this reservation's stream.
    Admit(Uuid),
    /// Stay out.
    Deny(Denial, Option<TimeDelta>),
    /// No plan, or an old one.
    Unknown,
    /// It was no question.
    Noted,
}

/// An HTTP response to a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers, besides those of every response.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
}

impl Response {
    pub(super) fn of(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string() }
    }
}

/// The plain statuses that most servers understand.
pub(super) fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Admit(_) | Outcome::Noted => 200,
        Outcome::Deny(..) => 403,
        Outcome::Unknown => 503,
    }
}
