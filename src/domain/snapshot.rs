//! What a batch is decided against, and what deciding it brings about.

use std::collections::{BTreeSet, HashMap};

use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use super::capacity::FreeSpan;
use super::id::{ServerId, TerminalId, UserId};
use super::interval::{Interval, Timestamp};
use super::quota::{QuotaLedger, Receipt};
use super::refusal::Code;
use super::reservation::{CancelReason, Reservation, State};
use super::server::Server;

/// SHA-256 over everything in a command that must not differ when its message id is used again.
pub type Digest = [u8; 32];

/// One thing to decide, in the order in which it reached the broker's queue.
#[derive(Debug, Clone)]
pub enum Step {
    /// A terminal's command.
    Command(Command),
    /// An instant has come, or a hop on the way to it has ended.
    WakeUp(WakeUp),
    /// An operator cancels a reservation; from the command line, not from a queue.
    Cancel(Cancellation),
}

/// A decoded command of a terminal whose identity the broker has vouched for.
#[derive(Debug, Clone)]
pub struct Command {
    /// Who sent it.
    pub terminal: TerminalId,
    /// The sender's id for it; decided once per terminal (P2).
    pub message_id: String,
    /// Tells a repeat from another command under the same id.
    pub digest: Digest,
    /// The server that the routing header names. Queries need none.
    pub server: Option<ServerId>,
    /// What it asks for.
    pub action: Action,
}

/// What a command asks for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Reserve the header's server for an interval (R1). `candidate` becomes the reservation's id.
    Request {
        /// The id that the reservation gets if it is accepted.
        candidate: Uuid,
        /// The wanted time.
        interval: Interval,
    },
    /// Reconfirm a hold (R8).
    Reconfirm(Uuid),
    /// Give a reservation back before it is settled (R11).
    Withdraw(Uuid),
    /// Ask for a reservation as it is now (R13).
    Show(Uuid),
    /// Ask for the user's reservations, newest first (R13).
    List {
        /// The last id of the page before.
        after: Option<Uuid>,
        /// Most reservations on the page.
        limit: usize,
    },
    /// Ask for a server's free places over time (R13).
    Availability {
        /// Which server.
        server: ServerId,
        /// From when until when.
        window: Interval,
    },
}

impl Action {
    /// Queries change nothing and their answers are not stored.
    pub fn is_query(&self) -> bool {
        matches!(self, Action::Show(_) | Action::List { .. } | Action::Availability { .. })
    }
}

/// An operator's wish to cancel a live reservation (R14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Which one.
    pub reservation: Uuid,
    /// Who wants it.
    pub operator: String,
    /// Why, in the operator's words.
    pub note: String,
}

/// A message that names one instant of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeUp {
    /// The instant: what has its deadline at or before it is settled.
    pub due_at: Timestamp,
    /// Where this hop ended. Before `due_at`: an intermediate hop, which never settles.
    pub scheduled_until: Timestamp,
    /// What sent it.
    pub trigger: Trigger,
}

/// What brought a wake-up about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// The delay ladder.
    Message,
    /// The sweep, which found the instant overdue.
    Sweep,
}

impl Trigger {
    /// The word used in wake-ups and in the history.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A terminal as registered.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// Whose it is.
    pub user: UserId,
    /// Operators can disable it.
    pub enabled: bool,
}

/// A user's reservations that wait for their reconfirmation.
#[derive(Debug, Clone, Copy)]
pub struct HoldUse {
    /// How many there are.
    pub count: i64,
    /// How many there may be.
    pub max: i64,
}

/// A live reservation as far as capacity is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Booked {
    /// Which one.
    pub id: Uuid,
    /// The time it keeps the server busy.
    pub busy: Interval,
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

/// How a message id of this batch was decided, or when.
#[derive(Debug, Clone)]
pub enum Known {
    /// Before this batch.
    Stored(Stored),
    /// By an earlier step of this batch.
    InBatch {
        /// The step's index.
        step: usize,
        /// The step's digest.
        digest: Digest,
    },
}

/// Everything a batch is decided against, read after its rows were locked.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The database's clock, read after the locks.
    pub now: Timestamp,
    /// The partition whose queue the batch came from.
    pub partition: i32,
    /// Terminals that sent something.
    pub terminals: HashMap<TerminalId, Terminal>,
    /// Servers named by requests.
    pub servers: HashMap<ServerId, Server>,
    /// Use of every period that a request touches.
    pub quota: QuotaLedger,
    /// Holds of every user who requests.
    pub holds: HashMap<UserId, HoldUse>,
    /// Live reservations that overlap a requested time.
    pub booked: HashMap<ServerId, Vec<Booked>>,
    /// Reservations that a command names or a wake-up settles.
    pub reservations: HashMap<Uuid, Reservation>,
    /// Unsettled reservations with their deadline at or before the batch's latest due wake-up,
    /// ordered by deadline; at most a slice of them.
    pub due: Vec<Uuid>,
    /// Set when more are due than were loaded: only deadlines before this instant are complete.
    pub due_complete_before: Option<Timestamp>,
    /// Holds whose reminder is due at the batch's latest due wake-up; at most a slice of them.
    pub to_remind: Vec<Uuid>,
    /// What `list` queries asked for, by the index of their step.
    pub pages: HashMap<usize, Vec<Listed>>,
    /// What `availability` queries asked for, by the index of their step. None for an unknown
    /// server.
    pub calendars: HashMap<usize, Calendar>,
    /// Message ids that are decided.
    pub known: HashMap<(TerminalId, String), Known>,
}

/// A reservation on a page, with what a confirmed one's user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The reservation.
    pub reservation: Reservation,
    /// Its server's connection URL.
    pub connection_url: String,
}

/// What is booked on a server in a window.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The server, with the closures that touch the window.
    pub server: Server,
    /// Live reservations that overlap the window.
    pub booked: Vec<Booked>,
    /// Set when more is booked than was loaded: only the time before this instant is known.
    pub complete_until: Option<Timestamp>,
}

/// A server's free places over time (R13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// The server.
    pub server: Server,
    /// The time that is told, which may end before the window that was asked for.
    pub window: Interval,
    /// Free places over that time.
    pub free: Vec<FreeSpan>,
}

/// What to say about one step.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A decision, to be stored under its message id and answered.
    Decided {
        /// What was decided.
        decision: Decision,
        /// Its place in the batch's decision order.
        order: u32,
    },
    /// A query's answer; not stored.
    Answered(Decision),
    /// Refused without a decision: the message id stays free.
    Undecided(Refusal),
    /// Decided before; the stored answer is sent again.
    Replay(Stored),
    /// The same message again within one batch: the answer of that step.
    RepeatOf(usize),
    /// The account belongs to no terminal: nobody to answer.
    UnknownTerminal,
    /// A wake-up was handled.
    WakeUp(WakeUpOutcome),
    /// An operator's cancellation was done, or refused.
    Cancel(Result<(), Refusal>),
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
    /// Changes of state in decision order. A reservation's row is the world's copy after deciding.
    pub transitions: Vec<Transition>,
    /// Deadlines and reminders of new holds: instants that need a wake-up.
    pub wake_ups: BTreeSet<Timestamp>,
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
