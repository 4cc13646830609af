//! Texts and values that several commands share.

use anyhow::Result;
use uuid::Uuid;

use crate::cli::context::Context;
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

/// Longest operator note, in characters.
const NOTE_LEN_MAX: usize = 500;

pub(super) fn note(text: &str) -> Result<String, String> {
    let length = text.trim().chars().count();
    match (1..=NOTE_LEN_MAX).contains(&length) && !text.chars().any(char::is_control) {
        true => Ok(text.trim().to_owned()),
        false => Err(format!("1 to {NOTE_LEN_MAX} characters on one line")),
    }
}

/// Who changes something.
pub(super) fn operator(context: &Context) -> Result<String> {
    match context.config.operator() {
        Some(operator) => Ok(operator.to_owned()),
        None => refuse("who you are is unknown; give --operator NAME"),
    }
}
