//! What a batch is decided against.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::id::{ServerId, TerminalId, UserId};
use super::input::{Digest, Page, Window};
use super::interval::{Interval, Timestamp};
use super::outcome::{Decision, Listed, Refusal, Stored};
use super::quota::QuotaLedger;
use super::refusal::Code;
use super::reservation::{CancelReason, Reservation, State};
use super::server::Server;

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

/// How a message id was decided.
#[derive(Debug, Clone)]
pub enum Known {
    /// Before this batch.
    Stored(Stored),
    /// Earlier in this batch.
    InBatch {
        /// Of the command that was decided.
        digest: Digest,
        /// How.
        decision: Arc<Decision>,
    },
}

impl Known {
    /// The digest of the command that was decided.
    pub fn digest(&self) -> &Digest {
        match self {
            Known::Stored(stored) => &stored.digest,
            Known::InBatch { digest, .. } => digest,
        }
    }
}

/// Everything a batch is decided against, read after its rows were locked.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The database's clock, read after the locks.
    pub now: Timestamp,
    /// The partition whose queue the batch came from; `None` for an operator's cancellation.
    pub partition: Option<i32>,
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
    /// What `list` queries ask for.
    pub pages: HashMap<(TerminalId, Page), Vec<Listed>>,
    /// What `availability` queries ask for; nothing for an unknown server.
    pub calendars: HashMap<Window, Calendar>,
    /// Message ids that are decided.
    pub known: HashMap<(TerminalId, String), Known>,
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

impl Snapshot {
    /// The reservation of that id if it is the user's. Unknown and foreign reservations get the same
    /// answer, so that nobody can probe for ids (R8).
    pub fn find(&self, user: &UserId, id: Uuid) -> Result<&Reservation, Refusal> {
        self.reservations
            .get(&id)
            .filter(|reservation| reservation.user == *user)
            .ok_or_else(|| Refusal::plain(Code::UnknownReservation))
    }

    /// Adds a new reservation, which takes capacity, quota and, if it is a hold, one of the user's
    /// holds.
    pub(super) fn book(&mut self, reservation: &Reservation) {
        let booked = Booked { id: reservation.id, busy: reservation.busy() };
        self.booked.entry(reservation.server.clone()).or_default().push(booked);
        self.quota.take(&reservation.user, &reservation.interval);
        if reservation.state == State::Held {
            self.count_holds(&reservation.user, 1);
        }
        self.reservations.insert(reservation.id, reservation.clone());
    }

    /// Cancels a live reservation and frees what it took.
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

    /// Counts a user's holds up or down. They are loaded for users who request, whom alone they limit.
    pub(super) fn count_holds(&mut self, user: &UserId, change: i64) {
        if let Some(holds) = self.holds.get_mut(user) {
            holds.count += change;
        }
    }
}
