//! Settling at the deadline (R10), and the reminder before it (R12).

use super::interval::Instant;
use super::reservation::{CancelReason, State};
use super::world::{Cause, Effects, Transition, WakeUp, WakeUpVerdict, World};

/// Handles one wake-up.
///
/// It settles only what has its deadline at or before its own instant, never everything that is
/// due by now: behind this wake-up in the queue there may be reconfirmations that are in time for
/// later deadlines, even if those have passed meanwhile (R9).
pub fn wake_up(world: &mut World, wake_up: &WakeUp, effects: &mut Effects) -> WakeUpVerdict {
    if world.now < wake_up.due_at {
        return WakeUpVerdict::Rearm;
    }
    if wake_up.armed_until < wake_up.due_at {
        // An intermediate leg was put into the queue before the instant: reconfirmations behind
        // it may still be in time, however late it is read.
        return WakeUpVerdict::ToTail;
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
        return WakeUpVerdict::ToTail;
    }
    effects.finished = effects.finished.max(Some(wake_up.due_at));
    WakeUpVerdict::Finished
}

fn settle(world: &mut World, id: uuid::Uuid, wake_up: &WakeUp, effects: &mut Effects) {
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
fn remind(world: &World, wake_up: &WakeUp, effects: &mut Effects) {
    let due = world.to_remind.iter().filter(|id| {
        let reservation = &world.reservations[id];
        reservation.state == State::Held
            && reservation.deadline_at > world.now
            && reservation.remind_at.is_some_and(|remind_at| remind_at <= wake_up.due_at)
    });
    effects.reminders.extend(due);
}

fn lateness_ms(deadline_at: Instant, now: Instant) -> i64 {
    (now - deadline_at).num_milliseconds()
}
