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

/// Where a reservation is in its life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// Accepted; waits for its reconfirmation.
    Held,
    /// Reconfirmed; waits for its deadline.
    Reconfirmed,
    /// Settled and billed.
    Confirmed,
    /// Ended without service; the time is free.
    Cancelled,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word used in messages and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether a reservation may go from this state to `to`. The database holds the same table.
    pub fn can_become(self, to: State) -> bool {
        matches!(
            (self, to),
            (State::Held, State::Reconfirmed | State::Confirmed | State::Cancelled)
                | (State::Reconfirmed, State::Confirmed | State::Cancelled)
                | (State::Confirmed, State::Cancelled)
        )
    }

    /// Live reservations take capacity and count against the quota.
    pub fn is_live(self) -> bool {
        self != State::Cancelled
    }

    /// Whether the deadline has yet to settle it.
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
    /// The deadline came without a reconfirmation.
    NotReconfirmed,
    /// The user withdrew it.
    Withdrawn,
    /// An operator cancelled it.
    Operator,
}

impl CancelReason {
    /// Every reason.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word used in messages and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A server for an interval, for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its id, UUIDv7.
    pub id: Uuid,
    /// The terminal that asked, which also gets the notices.
    pub terminal: TerminalId,
    /// The message id of the request.
    pub message_id: String,
    /// Whose quota it counts against and who is billed.
    pub user: UserId,
    /// The server.
    pub server: ServerId,
    /// The reserved time.
    pub interval: Interval,
    /// End of the reserved time plus the turn-around gap in force when it was accepted.
    pub busy_until: Timestamp,
    /// When it is settled.
    pub deadline_at: Timestamp,
    /// When its terminal is to be reminded to reconfirm; `None` if never, or once it was (R12).
    pub remind_at: Option<Timestamp>,
    /// When it was reminded.
    pub reminded_at: Option<Timestamp>,
    /// Its state.
    pub state: State,
    /// Why it was cancelled; set exactly when it is.
    pub cancel_reason: Option<CancelReason>,
    /// Frozen price in minor units.
    pub price_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The tariff version that was quoted.
    pub tariff_version: i32,
    /// When it was accepted.
    pub held_at: Timestamp,
    /// When it was first reconfirmed.
    pub reconfirmed_at: Option<Timestamp>,
    /// When it was confirmed or cancelled, whichever was last.
    pub settled_at: Option<Timestamp>,
}

impl Reservation {
    /// The time it keeps its server busy, turn-around included.
    pub fn busy(&self) -> Interval {
        Interval { start: self.interval.start, end: self.busy_until }
    }
}
