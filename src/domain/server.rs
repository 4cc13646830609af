//! Booking policy.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use super::id::ServerId;
use super::interval::Interval;
use super::tariff::Tariff;

/// For requests whose deadline has passed (R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LateBooking {
    /// Refuse (`too_late_to_reconfirm`).
    Reject,
    /// Hold, confirm and bill at once.
    Confirm,
}

impl LateBooking {
    /// The word on the command line and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A processing server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Simultaneous reservations (R3).
    pub capacity: usize,
    /// If closed, new requests are refused; reservations stay.
    pub open: bool,
    /// Its price (R6).
    pub tariff: Tariff,
    /// Grid of starts and ends, from the Unix epoch.
    pub slot_seconds: i64,
    /// Shortest reservation.
    pub min_seconds: i64,
    /// Longest reservation.
    pub max_seconds: i64,
    /// Turn-around time behind each reservation.
    pub gap_seconds: i64,
    /// From the deadline to the start.
    pub lead_seconds: i64,
    /// From the reminder to the deadline; 0 = never (R12).
    pub reminder_seconds: i64,
    /// From now to the latest start.
    pub horizon_seconds: i64,
    /// Late-booking policy (R4).
    pub late_booking: LateBooking,
    /// Sent with a confirmation; a template, see [`super::url_template`].
    pub connection_url: String,
    /// Sent with it: where others watch.
    pub view_url: Option<String>,
    /// The partition of its commands.
    pub partition: i32,
    /// Maintenance windows that touch requested intervals.
    pub closures: Vec<Interval>,
}
