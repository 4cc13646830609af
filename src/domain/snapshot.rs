//! What a batch is decided against.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::id::{ServerId, TerminalId, UserId};
use super::input::{Command, Digest, Input};
use super::interval::{Interval, Timestamp};
use super::outcome::{Decision, Refusal, Stored};
use super::quota::QuotaLedger;
use super::refusal::Code;
use super::reservation::{CancelReason, Reservation, State};
use super::server::Server;

/// A terminal as registered.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// Its user.
    pub user: UserId,
    /// Operators can disable it.
    pub enabled: bool,
}

/// A user's unreconfirmed reservations.
#[derive(Debug, Clone, Copy)]
pub struct HoldUse {
    /// Current number.
    pub count: i64,
    /// Limit.
    pub max: i64,
}

/// A live reservation's use of capacity.
#[derive(Debug, Clone, Copy)]
pub struct Booked {
    /// The reservation.
    pub id: Uuid,
    /// When it keeps the server busy.
    pub busy: Interval,
}

/// Decision of a message id.
#[derive(Debug, Clone)]
pub enum Known {
    /// Before this batch.
    Stored(Stored),
    /// Earlier in this batch.
    InBatch {
        /// Of the decided command.
        digest: Digest,
        /// The decision.
        decision: Arc<Decision>,
    },
}

impl Known {
    /// Digest of the decided command.
    pub fn digest(&self) -> &Digest {
        match self {
            Known::Stored(stored) => &stored.digest,
            Known::InBatch { digest, .. } => digest,
        }
    }
}

/// What a batch is decided against, read after the locks.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The database's clock, read after the locks.
    pub now: Timestamp,
    /// Whose queue the batch came from; `None` for an operator's cancellation.
    pub partition: Option<i32>,
    /// Terminals that sent something.
    pub terminals: HashMap<TerminalId, Terminal>,
    /// Servers named by commands, by fences and by due reservations.
    pub servers: HashMap<ServerId, Server>,
    /// Periods that requests touch.
    pub quota: QuotaLedger,
    /// Holds of users who request.
    pub holds: HashMap<UserId, HoldUse>,
    /// Live reservations that overlap requested times.
    pub booked: HashMap<ServerId, Vec<Booked>>,
    /// Named by commands or due.
    pub reservations: HashMap<Uuid, Reservation>,
    /// Unsettled, up to the batch's latest due wake-up, by deadline; at most a slice.
    pub due: Vec<Uuid>,
    /// If more are due than loaded: only earlier deadlines are complete.
    pub due_complete_before: Option<Timestamp>,
    /// Holds to remind of by that wake-up; at most a slice.
    pub to_remind: Vec<Uuid>,
    /// Moves that are not over, of the servers above.
    pub moves: HashMap<ServerId, Move>,
    /// Decided message ids.
    pub known: HashMap<(TerminalId, String), Known>,
}

/// A server on its way to another partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Names the fence that ends it.
    pub fence: Uuid,
    /// The partition that it goes to.
    pub to: i32,
    /// Whether the broker still sends all its commands to the old partition, too.
    pub both: bool,
}

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In its server's partition, or its server is unknown.
    Here,
    /// A copy. The command itself stands in its server's partition.
    Copy,
    /// Its server is on its way to this partition.
    Early,
    /// In a queue that its server has nothing to do with.
    Elsewhere,
}

impl Snapshot {
    /// Where a command that came through this partition's queue stands.
    ///
    /// A move that is read as `both` had not taken the server's commands from the old queue when it
    /// was read, and this command was routed before that.
    pub fn place(&self, command: &Command) -> Place {
        let Some(server) = self.servers.get(&command.server) else { return Place::Here };
        if Some(server.partition) == self.partition {
            return Place::Here;
        }
        match self.moves.get(&command.server) {
            Some(moving) if Some(moving.to) != self.partition => Place::Elsewhere,
            Some(moving) if moving.both => Place::Copy,
            Some(_) => Place::Early,
            None => Place::Elsewhere,
        }
    }

    /// The first command that must wait for its server's fence, and everything behind it. Decided
    /// earlier, it would overtake what the server's old partition has still to decide.
    pub fn first_early<'a>(&self, inputs: impl IntoIterator<Item = &'a Input>) -> Option<usize> {
        inputs.into_iter().position(
            |input| matches!(input, Input::Command(command) if self.place(command) == Place::Early),
        )
    }

    /// Unknown and foreign reservations get the same answer, so that nobody can probe for ids (R8).
    pub fn find(&self, user: &UserId, id: Uuid) -> Result<&Reservation, Refusal> {
        self.reservations
            .get(&id)
            .filter(|reservation| reservation.user == *user)
            .ok_or_else(|| Refusal::plain(Code::UnknownReservation))
    }

    /// Takes capacity, quota and, if held, one of the user's holds.
    pub(super) fn book(&mut self, reservation: &Reservation) {
        let booked = Booked { id: reservation.id, busy: reservation.busy() };
        self.booked.entry(reservation.server.clone()).or_default().push(booked);
        self.quota.take(&reservation.user, &reservation.interval);
        if reservation.state == State::Held {
            self.count_holds(&reservation.user, 1);
        }
        self.reservations.insert(reservation.id, reservation.clone());
    }

    /// Frees what the reservation took.
    pub(super) fn cancel(&mut self, id: Uuid, reason: CancelReason) {
        let now = self.now;
        let reservation = self.reservations.get_mut(&id).expect("the caller found it");
        let was_held = reservation.state == State::Held;
        reservation.state = State::Cancelled;
        reservation.cancel_reason = Some(reason);
        reservation.settled_at = Some(now);
        let cancelled = reservation.clone();
        if let Some(booked) = self.booked.get_mut(&cancelled.server) {
            booked.retain(|other| other.id != id);
        }
        self.quota.give_back(&cancelled.user, &cancelled.interval);
        if was_held {
            self.count_holds(&cancelled.user, -1);
        }
    }

    /// Holds are loaded only for users who request.
    pub(super) fn count_holds(&mut self, user: &UserId, change: i64) {
        if let Some(holds) = self.holds.get_mut(user) {
            holds.count += change;
        }
    }
}
