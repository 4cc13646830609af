//! Applies the rules to a batch in queue order, without clock, queue or database.

use std::sync::Arc;

use uuid::Uuid;

use super::batch::{Batch, Sent};
use super::input::{Action, Command, Input};
use super::outcome::{Changes, CommandOutcome, Decision, Outcome, Refusal};
use super::refusal::Code;
use super::reservation::{CancelReason, State};
use super::snapshot::{Known, Place, Snapshot};
use super::{cancel, note, request, settle};

/// A decided batch, with the caller's `T` for each input.
#[derive(Debug)]
pub struct Decided<'a, T> {
    /// State afterwards.
    pub snapshot: Snapshot,
    /// One per input, in order.
    pub outcomes: Vec<(Outcome<'a>, T)>,
    /// What to write.
    pub changes: Changes,
}

/// Decides every input in order; later ones see what earlier ones did.
pub fn decide<'a, T>(
    snapshot: Snapshot,
    inputs: impl IntoIterator<Item = (&'a Input, T)>,
) -> Decided<'a, T> {
    let mut batch = Batch { snapshot, changes: Changes::default() };
    let outcomes = inputs
        .into_iter()
        .enumerate()
        .map(|(index, (input, beside))| (batch.decide(index, input), beside))
        .collect();
    batch.mark_reminded();
    Decided { snapshot: batch.snapshot, outcomes, changes: batch.changes }
}

impl Batch {
    fn decide<'a>(&mut self, index: usize, input: &'a Input) -> Outcome<'a> {
        match input {
            Input::Command(command) => Outcome::Command(command, self.command(index, command)),
            Input::WakeUp(wake_up) => Outcome::WakeUp(wake_up, settle::wake_up(self, wake_up)),
            Input::Fence(fence) => Outcome::Fence(self.pass(fence)),
            Input::Cancel(request) => Outcome::Cancel(cancel::by_operator(self, request)),
            Input::Rotate(request) => Outcome::Rotate(note::rotate(self, request)),
            Input::Close(closing) => {
                note::close(self, closing);
                Outcome::Close
            }
        }
    }

    fn command(&mut self, index: usize, command: &Command) -> CommandOutcome {
        let place = self.snapshot.place(command);
        if place == Place::Copy {
            return CommandOutcome::Copy;
        }
        let Some(terminal) = self.snapshot.terminals.get(&command.terminal).cloned() else {
            return CommandOutcome::UnknownTerminal;
        };
        if !terminal.enabled {
            return CommandOutcome::Undecided(Refusal::plain(Code::TerminalDisabled));
        }
        let key = (command.terminal.clone(), command.message_id.clone());
        match self.snapshot.known.get(&key) {
            Some(known) if *known.digest() != command.digest => {
                return CommandOutcome::Undecided(Refusal::plain(Code::IdempotencyMismatch));
            }
            Some(Known::Stored(stored)) => return CommandOutcome::Replayed(stored.clone()),
            Some(Known::InBatch { decision, .. }) => {
                return CommandOutcome::Repeated(decision.clone());
            }
            None => {}
        }
        if place != Place::Here {
            // Its server's commands need one queue, so the sender must send it again.
            let refusal = Refusal::of_field(Code::WrongPartition, "routing_key");
            return CommandOutcome::Undecided(refusal);
        }
        let order = self.changes.next_order();
        let decision = self.act(&Sent { command, terminal: &terminal, index, order });
        if let Decision::Refused(refusal) = &decision
            && !refusal.code.is_stored()
        {
            return CommandOutcome::Undecided(refusal.clone());
        }
        let decision = Arc::new(decision);
        let known = Known::InBatch { digest: command.digest, decision: decision.clone() };
        self.snapshot.known.insert(key, known);
        CommandOutcome::Decided { decision, order }
    }

    fn act(&mut self, sent: &Sent<'_>) -> Decision {
        let result = match &sent.command.action {
            Action::Request(interval) => request::request(self, sent, interval),
            Action::Reconfirm(id) => self.reconfirm(sent, *id),
            Action::Withdraw(id) => self.withdraw(sent, *id),
        };
        result.unwrap_or_else(Decision::Refused)
    }

    /// Reads no clock: everything ahead of the wake-up in the queue is in time (R9).
    fn reconfirm(&mut self, sent: &Sent<'_>, id: Uuid) -> Result<Decision, Refusal> {
        let from = self.find_to_change(sent, id)?;
        let now = self.snapshot.now;
        let reservation = self.snapshot.reservations.get_mut(&id).expect("found above");
        if from != State::Held {
            return Ok(Decision::Reconfirmed(reservation.clone()));
        }
        reservation.state = State::Reconfirmed;
        reservation.reconfirmed_at = Some(now);
        sent.trace(reservation);
        let reconfirmed = reservation.clone();
        self.snapshot.count_holds(&reconfirmed.user, -1);
        self.changes.transitions.push(sent.transition(id, Some(from), State::Reconfirmed));
        Ok(Decision::Reconfirmed(reconfirmed))
    }

    fn withdraw(&mut self, sent: &Sent<'_>, id: Uuid) -> Result<Decision, Refusal> {
        let from = self.find_to_change(sent, id)?;
        self.changes.transitions.push(sent.transition(id, Some(from), State::Cancelled));
        self.snapshot.cancel(id, CancelReason::Withdrawn);
        let reservation = self.snapshot.reservations.get_mut(&id).expect("found above");
        sent.trace(reservation);
        Ok(Decision::Withdrawn(reservation.clone()))
    }

    /// Finds the reservation to change. Only the partition of its server orders a command against
    /// the deadline, so others are refused.
    fn find_to_change(&self, sent: &Sent<'_>, id: Uuid) -> Result<State, Refusal> {
        let reservation = self.snapshot.find(&sent.terminal.user, id)?;
        if sent.command.server != reservation.server {
            return Err(Refusal::of_field(Code::InconsistentMessage, "routing_key"));
        }
        match reservation.state {
            State::Confirmed => Err(Refusal::plain(Code::AlreadyConfirmed)),
            State::Cancelled => Err(Refusal {
                reason: reservation.cancel_reason,
                ..Refusal::plain(Code::AlreadyCancelled)
            }),
            unsettled => Ok(unsettled),
        }
    }
}
