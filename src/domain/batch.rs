//! A batch while it is decided.

use uuid::Uuid;

use super::input::Command;
use super::outcome::{Cause, Changes, Refusal, Transition};
use super::refusal::Code;
use super::reservation::State;
use super::server::Server;
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
    /// The broker routes by the header `server`. It may read a duplicated header differently, and
    /// it can misroute while a partition's queue is gone. A server's commands need one queue, so
    /// the sender must resend this one.
    pub fn check_partition(&self, server: &Server) -> Result<(), Refusal> {
        if server.partition.is_some_and(|partition| Some(partition) != self.snapshot.partition) {
            return Err(Refusal::of_field(Code::Misrouted, "headers.server"));
        }
        Ok(())
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
    pub fn transition(&self, reservation: Uuid, from: Option<State>, to: State) -> Transition {
        let cause = Cause::Terminal {
            terminal: self.command.terminal.clone(),
            message_id: self.command.message_id.clone(),
        };
        Transition { reservation, from, to, cause, order: self.order }
    }
}
