//! Cancelling by an operator (R14).

use super::batch::Batch;
use super::input::Cancellation;
use super::outcome::{Cancelled, Cause, Refusal, Transition};
use super::refusal::Code;
use super::reservation::{CancelReason, State};

/// Cancels a live reservation in any state. A confirmed one's credit is written with its
/// transition.
pub(super) fn by_operator(batch: &mut Batch, request: &Cancellation) -> Result<Cancelled, Refusal> {
    let id = request.reservation;
    let found = batch.snapshot.reservations.get(&id);
    let reservation = found.ok_or_else(|| Refusal::plain(Code::UnknownReservation))?;
    let from = reservation.state;
    if from == State::Cancelled {
        let reason = reservation.cancel_reason;
        return Err(Refusal { reason, ..Refusal::plain(Code::AlreadyCancelled) });
    }
    let cause = Cause::Operator { operator: request.operator.clone(), note: request.note.clone() };
    let order = batch.changes.next_order();
    let trace = reservation.trace.clone();
    let transition =
        Transition { reservation: id, from: Some(from), to: State::Cancelled, cause, trace, order };
    let credited = transition.is_credit();
    batch.changes.transitions.push(transition);
    batch.snapshot.cancel(id, CancelReason::Operator);
    Ok(Cancelled { reservation: batch.snapshot.reservations[&id].clone(), credited })
}
