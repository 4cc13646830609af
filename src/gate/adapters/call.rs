//! Requests to a streaming server, and what it replies.

use crate::domain::admission::live::Client;

/// A request to the streaming server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// Path and query, after the control URL.
    pub path: String,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into() }
    }
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// The next step of asking a server for its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// Ask this, too.
    Ask(Vec<Call>),
    /// This is all.
    Done(Vec<Client>),
}

/// A reply that is not as documented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} answered with status {status} and something unexpected: {why}")]
pub struct Unreadable {
    what: &'static str,
    status: u16,
    why: String,
}

impl Unreadable {
    pub(super) fn new(what: &'static str, reply: &Reply, why: impl ToString) -> Self {
        Self { what, status: reply.status, why: why.to_string() }
    }
}

/// A name in a path or query of a call.
pub(super) fn escaped(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}
