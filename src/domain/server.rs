//! A processing server's booking policy.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use super::id::ServerId;
use super::interval::Interval;
use super::tariff::Tariff;

/// What a server does with a request whose reconfirmation deadline has already passed (R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LateBooking {
    /// Refuse it as `too_late_to_reconfirm`.
    Reject,
    /// Hold, confirm and bill it at once.
    Confirm,
}

impl LateBooking {
    /// The word used on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A processing server: capacity, tariff, booking policy, connection URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Simultaneous reservations it can serve (R3).
    pub capacity: usize,
    /// A closed server refuses new requests and keeps its reservations.
    pub open: bool,
    /// What time on it costs (R6).
    pub tariff: Tariff,
    /// Both ends of a reservation lie on this grid, counted from the Unix epoch.
    pub slot_seconds: i64,
    /// Shortest reservation.
    pub min_seconds: i64,
    /// Longest reservation.
    pub max_seconds: i64,
    /// Turn-around time kept free behind each reservation.
    pub gap_seconds: i64,
    /// How long before the start the deadline lies.
    pub lead_seconds: i64,
    /// How long before the deadline a hold's terminal is reminded; 0 = never (R12).
    pub reminder_seconds: i64,
    /// How far ahead a reservation may start.
    pub horizon_seconds: i64,
    /// Late-booking policy (R4).
    pub late_booking: LateBooking,
    /// Where a confirmed reservation is served; told to the terminal with the confirmation.
    pub connection_url: String,
    /// The partition that its commands come through, once known.
    pub partition: Option<i32>,
    /// Maintenance windows that touch the intervals at hand.
    pub closures: Vec<Interval>,
}
