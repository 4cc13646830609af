//! Reservations and their states.
//!
//! ```text
//!            request                reconfirm               deadline
//!   (none) ----------> held ----------------> reconfirmed ----------> confirmed
//!                       |                          |                      |
//!                       | deadline, withdraw,      | withdraw,            | operator
//!                       | operator                 | operator             | (with a credit)
//!                       v                          v                      v
//!                   cancelled                  cancelled              cancelled
//! ```
//!
//! A late booking (R4) goes `held -> confirmed` in one decision.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::id::{ServerId, TerminalId, UserId};
use super::interval::{Interval, Timestamp};
use super::trace::Trace;

/// A reservation's state.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Waits for reconfirmation.
    Held,
    /// Waits for its deadline.
    Reconfirmed,
    /// Settled and billed.
    Confirmed,
    /// Ended; its time is free.
    Cancelled,
}

impl State {
    /// Every state, in order.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in messages and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether it may become `to`. The database holds the same table.
    pub fn can_become(self, to: State) -> bool {
        matches!(
            (self, to),
            (State::Held, State::Reconfirmed | State::Confirmed | State::Cancelled)
                | (State::Reconfirmed, State::Confirmed | State::Cancelled)
                | (State::Confirmed, State::Cancelled)
        )
    }

    /// Takes capacity and counts against the quota.
    pub fn is_live(self) -> bool {
        self != State::Cancelled
    }

    /// Whether it is still to be settled.
    pub fn is_unsettled(self) -> bool {
        matches!(self, State::Held | State::Reconfirmed)
    }
}

/// Why a reservation was cancelled.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum CancelReason {
    /// Not reconfirmed by the deadline.
    NotReconfirmed,
    /// The user withdrew it.
    Withdrawn,
    /// An operator cancelled it.
    Operator,
}

impl CancelReason {
    /// Every reason.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in messages and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A user's reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// UUIDv7.
    pub id: Uuid,
    /// Asked for it and gets its notices.
    pub terminal: TerminalId,
    /// Of the request.
    pub message_id: String,
    /// Whose quota counts and who is billed.
    pub user: UserId,
    /// The server.
    pub server: ServerId,
    /// The reserved time.
    pub interval: Interval,
    /// End plus the turn-around gap at acceptance.
    pub busy_until: Timestamp,
    /// When it is settled.
    pub deadline_at: Timestamp,
    /// When to remind (R12); `None` if never or done.
    pub remind_at: Option<Timestamp>,
    /// When it was reminded.
    pub reminded_at: Option<Timestamp>,
    /// Its state.
    pub state: State,
    /// Set exactly when it is cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// Frozen price in minor units.
    pub price_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The quoted tariff version.
    pub tariff_version: i32,
    /// When it was accepted.
    pub held_at: Timestamp,
    /// When it was first reconfirmed.
    pub reconfirmed_at: Option<Timestamp>,
    /// Last confirmed or cancelled.
    pub settled_at: Option<Timestamp>,
    /// The latest trace that a command brought which changed it.
    pub trace: Option<Trace>,
}

impl Reservation {
    /// The time it keeps its server busy, gap included.
    pub fn busy(&self) -> Interval {
        Interval { start: self.interval.start, end: self.busy_until }
    }
}
