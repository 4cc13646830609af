//! Settling at the deadline (R10), and the reminder before it (R12).

use super::interval::Timestamp;
use super::reservation::{CancelReason, State};
use super::snapshot::{Cause, Changes, Snapshot, Transition, WakeUp, WakeUpOutcome};

/// Handles one wake-up.
///
/// It settles only what has its deadline at or before its own instant, never everything that is
/// due by now: behind this wake-up in the queue there may be reconfirmations that are in time for
/// later deadlines, even if those have passed meanwhile (R9).
pub fn wake_up(world: &mut Snapshot, wake_up: &WakeUp, effects: &mut Changes) -> WakeUpOutcome {
    if world.now < wake_up.due_at {
        return WakeUpOutcome::Reschedule;
    }
    if wake_up.scheduled_until < wake_up.due_at {
        // An intermediate hop was put into the queue before the instant: reconfirmations behind
        // it may still be in time, however late it is read.
        return WakeUpOutcome::ToTail;
    }
    let due: Vec<_> = world
        .due
        .iter()
        .copied()
        .filter(|id| {
            let reservation = &world.reservations[id];
            reservation.state.is_unsettled() && reservation.deadline_at <= wake_up.due_at
        })
        .collect();
    for id in due {
        settle(world, id, wake_up, effects);
    }
    remind(world, wake_up, effects);
    if world.due_complete_before.is_some_and(|complete| complete <= wake_up.due_at) {
        return WakeUpOutcome::ToTail;
    }
    effects.finished = effects.finished.max(Some(wake_up.due_at));
    WakeUpOutcome::Finished
}

fn settle(world: &mut Snapshot, id: uuid::Uuid, wake_up: &WakeUp, effects: &mut Changes) {
    let now = world.now;
    let order = effects.next_order();
    let reservation = world.reservations.get_mut(&id).expect("due reservations are loaded");
    let from = reservation.state;
    let to = match from {
        State::Reconfirmed => State::Confirmed,
        _ => State::Cancelled,
    };
    let lateness_ms = lateness_ms(reservation.deadline_at, now);
    effects.transitions.push(Transition {
        reservation: id,
        from: Some(from),
        to,
        cause: Cause::Deadline { trigger: wake_up.trigger, lateness_ms },
        order,
    });
    if to == State::Cancelled {
        world.cancel(id, CancelReason::NotReconfirmed);
    } else {
        reservation.state = to;
        reservation.settled_at = Some(now);
    }
}

/// Notes the reminders of holds that can still be reconfirmed in time. Whether they are still holds
/// at the end of the batch is looked at there.
fn remind(world: &Snapshot, wake_up: &WakeUp, effects: &mut Changes) {
    let due = world.to_remind.iter().filter(|id| {
        let reservation = &world.reservations[id];
        reservation.state == State::Held
            && reservation.deadline_at > world.now
            && reservation.remind_at.is_some_and(|remind_at| remind_at <= wake_up.due_at)
    });
    effects.reminders.extend(due);
}

fn lateness_ms(deadline_at: Timestamp, now: Timestamp) -> i64 {
    (now - deadline_at).num_milliseconds()
}
