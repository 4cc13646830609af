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
    /// Servers named by requests.
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
    /// For `list` queries.
    pub pages: HashMap<(TerminalId, Page), Vec<Listed>>,
    /// For `availability` queries; none if the server is unknown.
    pub calendars: HashMap<Window, Calendar>,
    /// Decided message ids.
    pub known: HashMap<(TerminalId, String), Known>,
}

/// Bookings in a window.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// With the closures that touch the window.
    pub server: Server,
    /// Live reservations that overlap the window.
    pub booked: Vec<Booked>,
    /// If more is booked than loaded: only earlier time is known.
    pub complete_until: Option<Timestamp>,
}

impl Snapshot {
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
