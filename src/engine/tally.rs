//! What a committed batch decided and how long that took, for whoever counts.

use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::input::Trigger;
use crate::domain::outcome::{Cause, Changes, CommandOutcome, Decision, Outcome};
use crate::domain::refusal::Code;
use crate::domain::reservation::State;
use crate::message::command::Kind;

/// Decisions of a committed batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Every command, with what became of it.
    pub commands: Vec<(Kind, CommandEnd)>,
    /// Every reservation that was settled at its deadline.
    pub settlements: Vec<Settlement>,
    /// Reservations that were confirmed, which charges them.
    pub charges: u64,
    /// Reminders.
    pub reminders: u64,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// It is held or confirmed.
    Accepted,
    /// It is reconfirmed.
    Reconfirmed,
    /// It is withdrawn.
    Withdrawn,
    /// It is refused, with a decision or without one.
    Refused(Code),
    /// It had been decided before, or is decided elsewhere.
    Repeated,
}

/// A settlement at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// What sent the wake-up.
    pub trigger: Trigger,
    /// Time after the deadline.
    pub late: TimeDelta,
    /// Whether it was confirmed; otherwise it was cancelled.
    pub confirmed: bool,
}

/// Time that a batch spent in each phase; where it was decided twice, for both times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Begin, locks and reads.
    pub load: Duration,
    /// Decisions, without the database.
    pub decide: Duration,
    /// Writes and commit.
    pub save: Duration,
}

impl Tally {
    pub(super) fn of<T>(outcomes: &[(Outcome<'_>, T)], changes: &Changes) -> Self {
        let confirmed = changes.transitions.iter().filter(|change| change.is_charge());
        let settlements = changes.transitions.iter().filter_map(|change| match change.cause {
            Cause::Deadline { trigger, lateness_ms } => Some(Settlement {
                trigger,
                late: TimeDelta::milliseconds(lateness_ms),
                confirmed: change.to == State::Confirmed,
            }),
            _ => None,
        });
        Self {
            commands: outcomes.iter().filter_map(|(outcome, _)| end(outcome)).collect(),
            settlements: settlements.collect(),
            charges: confirmed.count() as u64,
            reminders: changes.reminders.len() as u64,
        }
    }
}

fn end(outcome: &Outcome<'_>) -> Option<(Kind, CommandEnd)> {
    let Outcome::Command(command, outcome) = outcome else { return None };
    let end = match outcome {
        CommandOutcome::Decided { decision, .. } => match &**decision {
            Decision::Accepted { .. } => CommandEnd::Accepted,
            Decision::Reconfirmed(_) => CommandEnd::Reconfirmed,
            Decision::Withdrawn(_) => CommandEnd::Withdrawn,
            Decision::Refused(refusal) => CommandEnd::Refused(refusal.code),
        },
        CommandOutcome::Undecided(refusal) => CommandEnd::Refused(refusal.code),
        CommandOutcome::UnknownTerminal => CommandEnd::Refused(Code::UnknownTerminal),
        CommandOutcome::Repeated(_) | CommandOutcome::Replayed(_) | CommandOutcome::Copy => {
            CommandEnd::Repeated
        }
    };
    Some((Kind::from(&command.action), end))
}
