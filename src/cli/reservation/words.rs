//! Texts that several commands share.

use anyhow::Result;
use uuid::Uuid;

use crate::cli::exit::refuse;
use crate::domain::reservation::{CancelReason, Reservation, State};

pub(super) fn unknown<T>(id: Uuid) -> Result<T> {
    refuse(format!("reservation {id}: unknown; list them with `holdfast reservation list`"))
}

pub(super) fn why(reservation: &Reservation) -> &'static str {
    match (reservation.state, reservation.cancel_reason) {
        (State::Held, _) => "waits for its reconfirmation",
        (State::Reconfirmed, _) => "will be confirmed and billed at its deadline",
        (State::Confirmed, _) => "confirmed and billed",
        (State::Cancelled, Some(CancelReason::NotReconfirmed)) => {
            "no reconfirmation reached the broker before its deadline"
        }
        (State::Cancelled, Some(CancelReason::Withdrawn)) => "its user gave it back",
        (State::Cancelled, Some(CancelReason::Operator)) => "an operator cancelled it",
        (State::Cancelled, None) => "no reason is recorded",
    }
}
