//! A batch while it is decided.

use uuid::Uuid;

use super::input::{Command, Fence};
use super::outcome::{Cause, Changes, Transition};
use super::reservation::{Reservation, State};
use super::snapshot::{Snapshot, Terminal};

pub(super) struct Batch {
    /// State after the inputs so far.
    pub snapshot: Snapshot,
    /// Changes by the inputs so far.
    pub changes: Changes,
}

/// A command and its sender.
pub(super) struct Sent<'a> {
    pub command: &'a Command,
    pub terminal: &'a Terminal,
    /// Place among the batch's inputs.
    pub index: usize,
    /// Place in its decision order.
    pub order: u32,
}

impl Batch {
    /// Moves the fence's server. Commands behind the fence stand in the wrong queue from here on.
    /// Returns whether the fence ends an open move.
    pub fn pass(&mut self, fence: &Fence) -> bool {
        let Snapshot { servers, moves, partition, .. } = &mut self.snapshot;
        let Some(server) = servers.get_mut(&fence.server) else { return false };
        let open = moves.get(&fence.server).is_some_and(|moving| moving.fence == fence.id);
        if !open || Some(server.partition) != *partition {
            return false;
        }
        let moved = moves.remove(&fence.server).expect("it is open");
        server.partition = moved.to;
        self.changes.fences.insert(moved.fence);
        true
    }

    /// Drops reminders of reservations that are no longer held, and marks the others as reminded.
    pub fn mark_reminded(&mut self) {
        let Snapshot { reservations, now, .. } = &mut self.snapshot;
        self.changes.reminders.retain(|id| reservations[id].state == State::Held);
        for id in &self.changes.reminders {
            let reservation = reservations.get_mut(id).expect("collected from there");
            reservation.remind_at = None;
            reservation.reminded_at = Some(*now);
        }
    }
}

impl Sent<'_> {
    /// What follows from the reservation belongs to this command's trace, if it has one.
    pub fn trace(&self, reservation: &mut Reservation) {
        if self.command.trace.is_some() {
            reservation.trace.clone_from(&self.command.trace);
        }
    }

    pub fn transition(&self, reservation: Uuid, from: Option<State>, to: State) -> Transition {
        let cause = Cause::Terminal {
            terminal: self.command.terminal.clone(),
            message_id: self.command.message_id.clone(),
        };
        let trace = self.command.trace.clone();
        Transition { reservation, from, to, cause, trace, order: self.order }
    }
}
