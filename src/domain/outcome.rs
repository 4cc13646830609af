//! What comes of a batch: an outcome for each input, and what changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::capacity::FreeSpan;
use super::id::TerminalId;
use super::input::{Command, Digest, Trigger, WakeUp};
use super::interval::{Interval, Timestamp};
use super::quota::Receipt;
use super::refusal::Code;
use super::reservation::{CancelReason, Reservation, State};
use super::server::Server;

/// A server's free places over time (R13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// The server.
    pub server: Server,
    /// The time that the answer covers, which may end before the window that was asked for.
    pub window: Interval,
    /// Free places over that time.
    pub free: Vec<FreeSpan>,
}

/// A decision that was stored when its message id was first seen.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Of the command that was decided.
    pub digest: Digest,
    /// The answer's AMQP `type`.
    pub answer_type: String,
    /// The answer's body, byte for byte.
    pub answer: String,
}

/// A reservation on a page, with what the answer adds if it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The reservation.
    pub reservation: Reservation,
    /// Its server's connection URL.
    pub connection_url: String,
}

/// What came of one input.
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// A command was decided, or was not.
    Command(&'a Command, CommandOutcome),
    /// A wake-up was handled.
    WakeUp(&'a WakeUp, WakeUpOutcome),
    /// An operator's cancellation was done, or refused.
    Cancel(Result<Cancelled, Refusal>),
}

/// What came of a command.
#[derive(Debug, Clone)]
pub enum CommandOutcome {
    /// A decision, which is stored under its message id and answered.
    Decided {
        /// What was decided.
        decision: Arc<Decision>,
        /// Its place in the batch's decision order.
        order: u32,
    },
    /// The same message once more within the batch: it gets the answer of the first.
    Repeated(Arc<Decision>),
    /// Decided before: the stored answer is sent again.
    Replayed(Stored),
    /// A query's answer, which is not stored.
    Answered(Decision),
    /// Refused without a decision: the message id stays free.
    Undecided(Refusal),
    /// The account belongs to no terminal: nobody to answer.
    UnknownTerminal,
}

/// A reservation that an operator has cancelled (R14).
#[derive(Debug, Clone)]
pub struct Cancelled {
    /// As it is now.
    pub reservation: Reservation,
    /// Whether it had been billed, and was credited.
    pub credited: bool,
}

/// What becomes of a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUpOutcome {
    /// Everything due at or before its instant is settled.
    Finished,
    /// Its instant has not come: send the rest of the way.
    Reschedule,
    /// Not to be settled at this place in the queue, or more is due than one batch settles: a
    /// fresh wake-up for the same instant goes to the tail of the partition.
    ToTail,
}

/// What was decided.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The reservation is held, or already confirmed if it was a late booking.
    Accepted {
        /// As it was right after.
        reservation: Reservation,
        /// One line per period touched.
        receipts: Vec<Receipt>,
    },
    /// The hold is reconfirmed.
    Reconfirmed(Reservation),
    /// The reservation is withdrawn.
    Withdrawn(Reservation),
    /// A reservation as it is.
    Shown(Reservation),
    /// A page of the user's reservations.
    Listed {
        /// Newest first.
        page: Vec<Listed>,
        /// The cursor of the next page, if there is one.
        next: Option<Uuid>,
    },
    /// A server's free places.
    Availability(Availability),
    /// Nothing changed.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The field, header or property at fault.
    pub field: Option<String>,
    /// Periods and their use, for `quota_exceeded`.
    pub receipts: Vec<Receipt>,
    /// For `already_cancelled`.
    pub reason: Option<CancelReason>,
}

impl Refusal {
    /// A refusal with nothing but its code.
    pub fn plain(code: Code) -> Self {
        Self { code, field: None, receipts: Vec::new(), reason: None }
    }

    /// A refusal that names the part at fault.
    pub fn of_field(code: Code, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::plain(code) }
    }
}

/// Who or what changed a reservation (R15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A terminal's command.
    Terminal {
        /// Which terminal.
        terminal: TerminalId,
        /// The command's message id.
        message_id: String,
    },
    /// The deadline.
    Deadline {
        /// What sent the wake-up.
        trigger: Trigger,
        /// Milliseconds from the deadline to the settlement.
        lateness_ms: i64,
    },
    /// An operator.
    Operator {
        /// Who.
        operator: String,
        /// Why, in the operator's words.
        note: String,
    },
}

/// One change of one reservation's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Which reservation.
    pub reservation: Uuid,
    /// The state before; `None` for a new one.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// Who or what.
    pub cause: Cause,
    /// Place in the batch's decision order.
    pub order: u32,
}

impl Transition {
    /// Whether it takes back what was billed.
    pub fn is_credit(&self) -> bool {
        self.from == Some(State::Confirmed) && self.to == State::Cancelled
    }

    /// Why, in an operator's words.
    pub fn note(&self) -> Option<&str> {
        match &self.cause {
            Cause::Operator { note, .. } => Some(note),
            _ => None,
        }
    }
}

/// Everything a batch changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Changes of state in decision order. A reservation's row is the snapshot's copy after deciding.
    pub transitions: Vec<Transition>,
    /// Deadlines and reminders of new holds: instants that need a wake-up.
    pub timers: BTreeSet<Timestamp>,
    /// Holds whose terminal is reminded.
    pub reminders: BTreeSet<Uuid>,
    /// The latest instant up to which everything is settled and reminded of.
    pub finished: Option<Timestamp>,
    /// Places given out in the decision order.
    pub decisions: u32,
}

impl Changes {
    /// The next place in the decision order.
    pub fn next_order(&mut self) -> u32 {
        let order = self.decisions;
        self.decisions += 1;
        order
    }
}
