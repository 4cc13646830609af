//! What the naive model knows: flat lists, microseconds since the epoch, and words.

use std::collections::HashMap;

use chrono::DateTime;
use holdfast::domain::id::{ServerId, TerminalId, UserId};
use holdfast::domain::input::Digest;
use holdfast::domain::interval::{Interval, Timestamp};
use uuid::Uuid;

/// `[start, end)` in microseconds since the epoch.
pub type Span = (i64, i64);

/// An instant in microseconds since the epoch.
pub fn micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

/// The other way round.
pub fn instant(at: i64) -> Timestamp {
    DateTime::from_timestamp_micros(at).expect("within the calendar")
}

/// A span that is not empty as the product's type.
pub fn interval((start, end): Span) -> Interval {
    Interval { start: instant(start), end: instant(end) }
}

/// A server.
#[derive(Debug, Clone)]
pub struct House {
    pub id: ServerId,
    pub capacity: usize,
    pub open: bool,
    pub rate: i64,
    pub currency: &'static str,
    pub version: i32,
    /// The rest are lengths in microseconds.
    pub slot: i64,
    pub min: i64,
    pub max: i64,
    pub gap: i64,
    pub lead: i64,
    pub horizon: i64,
    pub confirms_late: bool,
    pub url: String,
    pub closures: Vec<Span>,
}

/// A user.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: UserId,
    pub max_holds: usize,
    /// Seconds per period.
    pub limit: i64,
}

/// A terminal.
#[derive(Debug, Clone)]
pub struct Desk {
    pub id: TerminalId,
    pub user: UserId,
    pub enabled: bool,
}

/// A reservation, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Uuid,
    pub terminal: TerminalId,
    pub message_id: String,
    pub user: UserId,
    pub server: ServerId,
    pub start: i64,
    pub end: i64,
    pub busy_until: i64,
    pub deadline: i64,
    pub state: &'static str,
    pub reason: Option<&'static str>,
    pub price: i64,
    pub currency: String,
    pub version: i32,
    pub held_at: i64,
    pub reconfirmed_at: Option<i64>,
    pub settled_at: Option<i64>,
}

impl Row {
    pub fn live(&self) -> bool {
        self.state != "cancelled"
    }

    pub fn unsettled(&self) -> bool {
        self.state == "held" || self.state == "reconfirmed"
    }
}

/// A message id that was decided.
#[derive(Debug, Clone)]
pub struct Memo {
    pub digest: Digest,
    /// The input's index, while its batch lasts.
    pub step: Option<usize>,
    /// What was stored for it, once its batch is over.
    pub answer: String,
}

/// Everything there is.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The unit of all times, in microseconds.
    pub tick: i64,
    pub now: i64,
    pub periods: Vec<Span>,
    pub houses: Vec<House>,
    pub people: Vec<Person>,
    pub desks: Vec<Desk>,
    /// All reservations ever, in the order in which they were accepted.
    pub rows: Vec<Row>,
    pub memos: HashMap<(TerminalId, String), Memo>,
    /// The ids that a batch's requests get if they are accepted, by their place in it: no rule says
    /// what an id is.
    pub ids: HashMap<usize, Uuid>,
}

impl Truth {
    pub fn house(&self, id: &ServerId) -> Option<&House> {
        self.houses.iter().find(|house| house.id == *id)
    }

    pub fn person(&self, id: &UserId) -> &Person {
        let found = self.people.iter().find(|person| person.id == *id);
        found.expect("desks belong to people")
    }

    pub fn desk(&self, id: &TerminalId) -> Option<&Desk> {
        self.desks.iter().find(|desk| desk.id == *id)
    }

    pub fn row(&self, id: Uuid) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// Reservations of a user that wait for their reconfirmation.
    pub fn holds(&self, user: &UserId) -> usize {
        self.rows.iter().filter(|row| row.user == *user && row.state == "held").count()
    }
}
