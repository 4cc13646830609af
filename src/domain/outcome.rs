//! Outcomes and changes of a batch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::id::TerminalId;
use super::input::{Command, Digest, Trigger, WakeUp};
use super::interval::{Interval, Timestamp};
use super::limit::Limit;
use super::quota::Receipt;
use super::refusal::Code;
use super::reservation::{CancelReason, Reservation, State};
use super::trace::Trace;
use super::usage::Usage;

/// Decided in an earlier batch.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Of the decided command.
    pub digest: Digest,
    /// The answer's AMQP `type`.
    pub answer_type: String,
    /// The answer's body, byte for byte.
    pub answer: String,
}

/// Outcome of one input.
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// Of a command.
    Command(&'a Command, CommandOutcome),
    /// Of a wake-up.
    WakeUp(&'a WakeUp, WakeUpOutcome),
    /// Of a fence: whether its server moved.
    Fence(bool),
    /// Of an operator's cancellation.
    Cancel(Result<Cancelled, Refusal>),
    /// Of an operator's request for another access key.
    Rotate(Result<Reservation, NotRotated>),
    /// Of the end of a reservation's time.
    Close,
}

/// Why an access key is not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRotated {
    /// There is no such reservation.
    Unknown,
    /// It is not confirmed, and has no key.
    State(State),
    /// Its time has passed.
    Over,
}

/// Outcome of a command.
#[derive(Debug, Clone)]
pub enum CommandOutcome {
    /// To be stored and answered.
    Decided {
        /// The decision.
        decision: Arc<Decision>,
        /// Place in the decision order.
        order: u32,
    },
    /// Repeated in this batch: gets the first one's answer.
    Repeated(Arc<Decision>),
    /// Decided before: gets the stored answer.
    Replayed(Stored),
    /// A copy of a command that stands in its server's partition and is answered from there.
    Copy,
    /// Refused without a decision; the message id stays free.
    Undecided(Refusal),
    /// Not a registered terminal: refused without a decision, and kept for operators.
    UnknownTerminal,
}

/// A cancellation by an operator (R14).
#[derive(Debug, Clone)]
pub struct Cancelled {
    /// State afterwards.
    pub reservation: Reservation,
    /// Whether a charge was credited.
    pub credited: bool,
}

/// Outcome of a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeUpOutcome {
    /// Everything due by its instant is settled.
    Finished,
    /// Its instant has not come: schedule the next hop.
    Reschedule,
    /// May not settle at this place in the queue, or more is due than was loaded: a fresh wake-up
    /// goes to the partition's tail.
    ToTail,
}

/// A decision.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Held, or confirmed if booked late (R4).
    Accepted {
        /// State right after.
        reservation: Reservation,
        /// One per period touched.
        receipts: Vec<Receipt>,
        /// Whether its terminal will be reminded.
        reminder: Reminder,
    },
    /// A hold is reconfirmed.
    Reconfirmed(Reservation),
    /// A reservation is withdrawn.
    Withdrawn(Reservation),
    /// Nothing changed.
    Refused(Refusal),
}

/// Whether a new hold's terminal will be reminded (R12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reminder {
    /// At this instant, if it is still only held.
    At(Timestamp),
    /// The server sends none.
    Off,
    /// Its time had passed when the hold was accepted.
    Passed,
    /// The reservation is confirmed at once.
    Confirmed,
}

impl Reminder {
    /// Words for why there will be none.
    pub const REASONS: &[&str] = &["off", "passed", "confirmed"];

    /// Why there will be none, if so.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Reminder::At(_) => None,
            Reminder::Off => Some("off"),
            Reminder::Passed => Some("passed"),
            Reminder::Confirmed => Some("confirmed"),
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// The field, header or property at fault.
    pub field: Option<String>,
    /// For `quota_exceeded`.
    pub receipts: Vec<Receipt>,
    /// For `already_cancelled`.
    pub reason: Option<CancelReason>,
    /// The limit that is not kept, where the code has one.
    pub limit: Option<Box<Limit>>,
    /// For `closure`: the maintenance window.
    pub closure: Option<Interval>,
    /// For `rate_limited`: when there is room for the message.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Only a code.
    pub fn plain(code: Code) -> Self {
        Self {
            code,
            field: None,
            receipts: Vec::new(),
            reason: None,
            limit: None,
            closure: None,
            retry_after: None,
        }
    }

    /// `rate_limited`, with the time until there is room.
    pub fn later(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::plain(Code::RateLimited) }
    }

    /// Names the limit that is not kept.
    pub fn beyond(code: Code, limit: Limit) -> Self {
        Self { limit: Some(Box::new(limit)), ..Self::plain(code) }
    }

    /// Names the part at fault.
    pub fn of_field(code: Code, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::plain(code) }
    }
}

/// Who or what changed a reservation (R15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A terminal's command.
    Terminal {
        /// The terminal.
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
        /// Why.
        note: String,
    },
    /// An operator who had the access key replaced.
    Rotation {
        /// Names the rotation.
        id: Uuid,
        /// Who.
        operator: String,
        /// Why.
        note: String,
    },
    /// The end of the reserved time.
    End {
        /// What became of it.
        usage: Usage,
    },
}

/// One change of a reservation's state, or a note about a confirmed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The reservation.
    pub reservation: Uuid,
    /// `None` for a new one.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// Who or what.
    pub cause: Cause,
    /// A command's own trace, or else the reservation's: that of the command which led to it.
    pub trace: Option<Trace>,
    /// Place in the decision order.
    pub order: u32,
}

impl Transition {
    /// Whether it only notes something, and changes no state.
    pub fn is_note(&self) -> bool {
        self.from == Some(self.to)
    }

    /// Whether it confirms, which charges.
    pub fn is_charge(&self) -> bool {
        self.to == State::Confirmed && !self.is_note()
    }

    /// Whether it credits a charge.
    pub fn is_credit(&self) -> bool {
        self.from == Some(State::Confirmed) && self.to == State::Cancelled
    }

    /// The operator's reason.
    pub fn note(&self) -> Option<&str> {
        match &self.cause {
            Cause::Operator { note, .. } | Cause::Rotation { note, .. } => Some(note),
            _ => None,
        }
    }
}

/// What to write.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// In decision order. The snapshot has the resulting rows.
    pub transitions: Vec<Transition>,
    /// Deadlines and reminders that need wake-ups.
    pub timers: BTreeSet<Timestamp>,
    /// Holds to remind of.
    pub reminders: BTreeSet<Uuid>,
    /// Fences of servers that leave the partition.
    pub fences: BTreeSet<Uuid>,
    /// Everything up to here is settled and reminded of.
    pub finished: Option<Timestamp>,
    /// Places taken in decision order.
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
