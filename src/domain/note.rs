//! Notes about confirmed reservations, which change no state: another access key (R16), and what became of the time
//! (R17).

use super::batch::Batch;
use super::input::{Closing, Rotation};
use super::outcome::{Cause, NotRotated, Transition};
use super::reservation::{Reservation, State};

/// Records the use of a reservation's time, unless it was cancelled meanwhile.
pub(super) fn close(batch: &mut Batch, closing: &Closing) {
    let found = batch.snapshot.reservations.get(&closing.reservation);
    let Some(reservation) = found.filter(|found| found.state == State::Confirmed) else { return };
    let cause = Cause::End { usage: closing.seen.into() };
    let noted = note(reservation, cause, batch.changes.next_order());
    batch.changes.transitions.push(noted);
}

/// Replaces the access key of a confirmed reservation that is not over.
pub(super) fn rotate(batch: &mut Batch, request: &Rotation) -> Result<Reservation, NotRotated> {
    let found = batch.snapshot.reservations.get(&request.reservation);
    let reservation = found.ok_or(NotRotated::Unknown)?.clone();
    if reservation.state != State::Confirmed {
        return Err(NotRotated::State(reservation.state));
    }
    if reservation.interval.end <= batch.snapshot.now {
        return Err(NotRotated::Over);
    }
    let Rotation { id, operator, note: why, .. } = request.clone();
    let cause = Cause::Rotation { id, operator, note: why };
    let noted = note(&reservation, cause, batch.changes.next_order());
    batch.changes.transitions.push(noted);
    Ok(reservation)
}

fn note(reservation: &Reservation, cause: Cause, order: u32) -> Transition {
    let Reservation { id, state, trace, .. } = reservation;
    let (reservation, trace) = (*id, trace.clone());
    Transition { reservation, from: Some(*state), to: *state, cause, trace, order }
}
