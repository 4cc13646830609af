//! What is said and done about a batch, in words that the model and the product are both put into.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::domain::id::ServerId;
use holdfast::domain::input::Digest;
use uuid::Uuid;

use super::truth::{Row, Span};

/// A verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Decided(Box<Answer>),
    Undecided(Box<Answer>),
    Replay {
        digest: Digest,
        answer: String,
    },
    Repeated(Box<Answer>),
    UnknownTerminal,
    Copy,
    WakeUp(&'static str),
    /// Whether its server moves.
    Fence(bool),
}

/// What is said about a command: how it is accepted, or how it is refused.
pub type Answered = Result<Box<Answer>, Box<Answer>>;

/// An answer; what does not apply is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// `accepted`, `reconfirmed`, `withdrawn` or `refused`.
    pub kind: &'static str,
    pub row: Option<Row>,
    pub receipts: Vec<Line>,
    pub code: &'static str,
    pub field: Option<String>,
    pub reason: Option<&'static str>,
}

impl Answer {
    pub fn refused(code: &'static str) -> Box<Self> {
        Box::new(Self { kind: "refused", code, ..Self::default() })
    }

    pub fn about(kind: &'static str, row: &Row) -> Box<Self> {
        Box::new(Self { kind, row: Some(row.clone()), ..Self::default() })
    }
}

/// A quota receipt, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub period: Span,
    pub limit: i64,
    pub used: i64,
    pub requested: i64,
}

/// A change of one reservation's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub row: Uuid,
    pub from: Option<&'static str>,
    pub to: &'static str,
    pub cause: String,
    /// Counts the decisions of the batch that changed something; the two moves of a late booking
    /// are one decision.
    pub place: usize,
}

/// What a batch brings about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    pub said: Vec<Said>,
    pub moves: Vec<Move>,
    /// Deadlines of new holds.
    pub wake_ups: BTreeSet<i64>,
    /// Servers that leave, by the fence of their move.
    pub fences: BTreeMap<Uuid, ServerId>,
    pub finished: Option<i64>,
}

impl Expected {
    /// Notes one decision that moves a reservation through the given states.
    pub fn moved(&mut self, row: Uuid, states: &[Option<&'static str>], cause: &str) {
        let place = self.moves.last().map_or(0, |last| last.place + 1);
        for pair in states.windows(2) {
            self.moves.push(Move {
                row,
                from: pair[0],
                to: pair[1].expect("only the first state may be missing"),
                cause: cause.to_owned(),
                place,
            });
        }
    }
}
