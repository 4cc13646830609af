//! What the naive model knows: flat lists, microseconds since the epoch, and words.

use std::collections::HashMap;

use chrono::DateTime;
use holdfast::domain::id::{ServerId, TerminalId, UserId};
use holdfast::domain::input::{Digest, Input};
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

/// The partition whose batches are decided. What happens in others is only seen from here.
pub const HERE: i32 = 0;

/// A server on its way to another partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// Names the move.
    pub fence: Uuid,
    pub to: i32,
    /// The old partition still gets every command, too.
    pub both: bool,
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
    /// Where its commands are decided, and its reservations settled.
    pub partition: i32,
    pub moving: Option<Moving>,
    /// When it last came from another partition.
    pub came_at: Option<i64>,
}

impl House {
    /// Its commands may stand in another queue alone, so nothing of it is settled before its fence.
    pub fn leaves(&self) -> bool {
        self.partition == HERE && self.moving.is_some_and(|moving| !moving.both)
    }
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

    /// Whether a command that came through this partition's queue is decided `here`, is a `copy`,
    /// comes `early`, or belongs `elsewhere`.
    pub fn stands(&self, server: &ServerId) -> &'static str {
        let Some(house) = self.house(server) else { return "here" };
        if house.partition == HERE {
            return "here";
        }
        match house.moving {
            Some(moving) if moving.to == HERE && moving.both => "copy",
            Some(moving) if moving.to == HERE => "early",
            _ => "elsewhere",
        }
    }

    /// The first command that has to wait for its server to come, with all that is behind it.
    pub fn first_early(&self, steps: &[Input]) -> Option<usize> {
        let early =
            |step: &Input| matches!(step, Input::Command(c) if self.stands(&c.server) == "early");
        steps.iter().position(early)
    }

    /// Whether a wake-up of this partition settles the reservation.
    pub fn settles_here(&self, row: &Row) -> bool {
        let house = self.house(&row.server).expect("no server is ever removed");
        row.unsettled() && house.partition == HERE && !house.leaves()
    }

    /// Reservations of a user that wait for their reconfirmation.
    pub fn holds(&self, user: &UserId) -> usize {
        self.rows.iter().filter(|row| row.user == *user && row.state == "held").count()
    }
}
