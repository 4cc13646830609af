//! Cancelling by an operator (R14).

use super::refusal::Code;
use super::reservation::{CancelReason, State};
use super::snapshot::{Cancellation, Cause, Changes, Refusal, Snapshot, Transition};

/// Cancels a live reservation, whatever its state. A confirmed one is owed a credit, which is
/// written with its transition.
pub fn by_operator(
    world: &mut Snapshot,
    wish: &Cancellation,
    effects: &mut Changes,
) -> Result<(), Refusal> {
    let id = wish.reservation;
    let reservation =
        world.reservations.get(&id).ok_or_else(|| Refusal::plain(Code::UnknownReservation))?;
    let from = reservation.state;
    if from == State::Cancelled {
        let reason = reservation.cancel_reason;
        return Err(Refusal { reason, ..Refusal::plain(Code::AlreadyCancelled) });
    }
    let cause = Cause::Operator { operator: wish.operator.clone(), note: wish.note.clone() };
    let order = effects.next_order();
    effects.transitions.push(Transition {
        reservation: id,
        from: Some(from),
        to: State::Cancelled,
        cause,
        order,
    });
    world.cancel(id, CancelReason::Operator);
    Ok(())
}
