//! Settlement (R10) and reminders (R12).

use uuid::Uuid;

use super::batch::Batch;
use super::deadline::LAST_HOP_MARGIN;
use super::input::WakeUp;
use super::outcome::{Cause, Transition, WakeUpOutcome};
use super::reservation::{CancelReason, State};

/// Settles only up to the wake-up's instant. Reconfirmations behind it in the queue may be in time
/// for later deadlines, even if those have passed meanwhile (R9).
/// See `docs/decisions/0005-wake-ups-name-instants.md`.
pub(super) fn wake_up(batch: &mut Batch, wake_up: &WakeUp) -> WakeUpOutcome {
    if batch.snapshot.now < wake_up.due_at {
        return WakeUpOutcome::Reschedule;
    }
    // A hop that ends ahead of now was sent while the clock was ahead, and came too early: behind it,
    // reconfirmations may be in time.
    if !wake_up.is_last_hop() || wake_up.scheduled_until > batch.snapshot.now + LAST_HOP_MARGIN {
        return WakeUpOutcome::ToTail;
    }
    for id in due(batch, wake_up) {
        settle(batch, id, wake_up);
    }
    remind(batch, wake_up);
    let complete_before = batch.snapshot.due_complete_before;
    if complete_before.is_some_and(|complete| complete <= wake_up.due_at) {
        return WakeUpOutcome::ToTail;
    }
    batch.changes.finished = batch.changes.finished.max(Some(wake_up.due_at));
    WakeUpOutcome::Finished
}

fn due(batch: &Batch, wake_up: &WakeUp) -> Vec<Uuid> {
    let is_due = |id: &Uuid| {
        let reservation = &batch.snapshot.reservations[id];
        reservation.state.is_unsettled() && reservation.deadline_at <= wake_up.due_at
    };
    batch.snapshot.due.iter().copied().filter(is_due).collect()
}

fn settle(batch: &mut Batch, id: Uuid, wake_up: &WakeUp) {
    let now = batch.snapshot.now;
    let order = batch.changes.next_order();
    let reservation = batch.snapshot.reservations.get_mut(&id).expect("due ones are loaded");
    let from = reservation.state;
    let trace = reservation.trace.clone();
    let lateness_ms = (now - reservation.deadline_at).num_milliseconds();
    let to = if from == State::Reconfirmed { State::Confirmed } else { State::Cancelled };
    if to == State::Confirmed {
        reservation.state = to;
        reservation.settled_at = Some(now);
    } else {
        batch.snapshot.cancel(id, CancelReason::NotReconfirmed);
    }
    let cause = Cause::Deadline { trigger: wake_up.trigger, lateness_ms };
    batch.changes.transitions.push(Transition {
        reservation: id,
        from: Some(from),
        to,
        cause,
        trace,
        order,
    });
}

/// Only holds before their deadline. `mark_reminded` drops those not held at the end of the batch.
fn remind(batch: &mut Batch, wake_up: &WakeUp) {
    let snapshot = &batch.snapshot;
    let is_due = |id: &&Uuid| {
        let reservation = &snapshot.reservations[*id];
        reservation.state == State::Held
            && reservation.deadline_at > snapshot.now
            && reservation.remind_at.is_some_and(|remind_at| remind_at <= wake_up.due_at)
    };
    batch.changes.reminders.extend(snapshot.to_remind.iter().filter(is_due));
}
