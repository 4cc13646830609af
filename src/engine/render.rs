//! From outcomes to stored rows and reactions.

use std::time::Duration;

use crate::backoff;
use crate::domain::input::{Command, WakeUp};
use crate::domain::outcome::{
    Cancelled, CommandOutcome, Decision, NotRotated, Outcome, Refusal, WakeUpOutcome,
};
use crate::domain::refusal::Code;
use crate::domain::reservation::Reservation;
use crate::domain::snapshot::Snapshot;
use crate::message::answer::{Answer, Urls};
use crate::message::command::Kind;
use crate::message::envelope::DeadReason;
use crate::store::save::DecidedCommand;

/// Longest jitter. Less than the rate limit's burst of two seconds, so that no room passes unused.
const JITTER_MAX: Duration = Duration::from_secs(1);

pub(super) struct Rendered<T> {
    /// In lock order: by terminal and message id.
    pub commands: Vec<DecidedCommand>,
    pub reactions: Vec<(Reaction, T)>,
}

/// What to do about one input once it is committed.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Send an answer.
    Answer(Reply),
    /// Dead-letter it, so that it is not lost, and send an answer: its terminal is unknown.
    DeadAndAnswer(DeadReason, Reply),
    /// Schedule the next hop to the instant.
    Reschedule(WakeUp),
    /// Send a fresh wake-up to the partition's tail.
    ToTail(WakeUp),
    /// Return this to the operator.
    Cancelled(Result<Cancelled, Refusal>),
    /// The same, for another access key.
    Rotated(Result<Reservation, NotRotated>),
    /// Nothing.
    Nothing,
}

/// An answer to send.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Recipient.
    pub terminal: String,
    /// The command's message id, if usable.
    pub message_id: Option<String>,
    /// AMQP `type`.
    pub type_name: String,
    /// Body.
    pub body: String,
    /// Why, if it is refused. Unknown of a stored answer.
    pub refused: Option<Code>,
}

impl Reply {
    /// For logs and traces: a refusal's code, or else the type.
    pub fn outcome(&self) -> &str {
        self.refused.map_or(self.type_name.as_str(), |code| code.as_str())
    }
}

pub(super) fn render<T>(snapshot: &Snapshot, outcomes: Vec<(Outcome<'_>, T)>) -> Rendered<T> {
    let mut commands = Vec::new();
    let reactions = outcomes
        .into_iter()
        .map(|(outcome, beside)| (react(snapshot, outcome, &mut commands), beside))
        .collect();
    commands.sort_by(|a, b| (&a.terminal, &a.message_id).cmp(&(&b.terminal, &b.message_id)));
    Rendered { commands, reactions }
}

fn react(
    snapshot: &Snapshot,
    outcome: Outcome<'_>,
    commands: &mut Vec<DecidedCommand>,
) -> Reaction {
    match outcome {
        Outcome::WakeUp(_, WakeUpOutcome::Finished) => Reaction::Nothing,
        Outcome::WakeUp(wake_up, WakeUpOutcome::Reschedule) => Reaction::Reschedule(*wake_up),
        Outcome::WakeUp(wake_up, WakeUpOutcome::ToTail) => Reaction::ToTail(*wake_up),
        Outcome::Fence(_) => Reaction::Nothing,
        Outcome::Cancel(result) => Reaction::Cancelled(result),
        Outcome::Rotate(result) => Reaction::Rotated(result),
        Outcome::Close => Reaction::Nothing,
        Outcome::Command(command, outcome) => match outcome {
            CommandOutcome::Decided { decision, order } => {
                let answer = answer(snapshot, &decision);
                let reply = reply(command, answer.type_name(), answer.to_json(), code(&decision));
                commands.push(stored(command, &decision, &answer, &reply.body, order));
                Reaction::Answer(reply)
            }
            CommandOutcome::Repeated(decision) => {
                let answer = answer(snapshot, &decision);
                let body = answer.to_json();
                Reaction::Answer(reply(command, answer.type_name(), body, code(&decision)))
            }
            CommandOutcome::Copy => Reaction::Nothing,
            CommandOutcome::Replayed(stored) => {
                Reaction::Answer(reply(command, &stored.answer_type, stored.answer, None))
            }
            CommandOutcome::Undecided(refusal) => {
                let message_id = Some(command.message_id.as_str());
                Reaction::Answer(refused(command.terminal.as_str(), message_id, &refusal))
            }
            CommandOutcome::UnknownTerminal => Reaction::DeadAndAnswer(
                DeadReason::UnknownTerminal,
                unknown_terminal(command.terminal.as_str(), &command.message_id),
            ),
        },
    }
}

/// Within a batch, equal decisions get equal bytes.
fn answer(snapshot: &Snapshot, decision: &Decision) -> Answer {
    let urls =
        |reservation: &Reservation| snapshot.servers.get(&reservation.server).map(Urls::from);
    Answer::to_decision(decision, snapshot.now, urls)
}

fn code(decision: &Decision) -> Option<Code> {
    match decision {
        Decision::Refused(refusal) => Some(refusal.code),
        Decision::Accepted { .. } | Decision::Reconfirmed(_) | Decision::Withdrawn(_) => None,
    }
}

fn reply(command: &Command, type_name: &str, body: String, refused: Option<Code>) -> Reply {
    Reply {
        terminal: command.terminal.to_string(),
        message_id: Some(command.message_id.clone()),
        type_name: type_name.to_owned(),
        body,
        refused,
    }
}

/// The answer to a terminal that is not registered. The broker vouches for its name, so nobody else gets
/// it; without a reply queue it is dropped.
pub(super) fn unknown_terminal(terminal: &str, message_id: &str) -> Reply {
    refused(terminal, Some(message_id), &Refusal::plain(Code::UnknownTerminal))
}

/// The answer to an undecided message. The wait that it tells, if any, is drawn anew for each, so that
/// terminals that were refused at once do not come back at once.
pub fn refused(terminal: &str, message_id: Option<&str>, refusal: &Refusal) -> Reply {
    let mut answer = Answer::refused(refusal, None);
    if let Answer::Refused { retry_after_ms: Some(wait), .. } = &mut answer {
        *wait += jitter_ms(*wait);
    }
    Reply {
        terminal: terminal.to_owned(),
        message_id: message_id.map(str::to_owned),
        type_name: answer.type_name().to_owned(),
        body: answer.to_json(),
        refused: Some(refusal.code),
    }
}

/// Half of the wait at most, and never more than [`JITTER_MAX`]. It only lengthens the wait: earlier there
/// may be no room.
fn jitter_ms(wait_ms: u64) -> u64 {
    let bound = Duration::from_millis(wait_ms / 2).min(JITTER_MAX);
    u64::try_from(backoff::up_to(bound).as_millis()).unwrap_or(u64::MAX)
}

fn stored(
    command: &Command,
    decision: &Decision,
    answer: &Answer,
    body: &str,
    order: u32,
) -> DecidedCommand {
    let reservation = match decision {
        Decision::Accepted { reservation, .. }
        | Decision::Reconfirmed(reservation)
        | Decision::Withdrawn(reservation) => Some(reservation.id),
        Decision::Refused(_) => None,
    };
    DecidedCommand {
        terminal: command.terminal.to_string(),
        message_id: command.message_id.clone(),
        kind: Kind::from(&command.action).as_str(),
        digest: command.digest,
        outcome: answer.outcome().to_owned(),
        answer_type: answer.type_name(),
        answer: body.to_owned(),
        server: command.server.to_string(),
        reservation,
        order,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MS: u64 = 1_000;

    /// Told the same wait, all terminals would come back at once; earlier there is no room.
    #[test]
    fn a_wait_has_a_random_part_that_only_lengthens_it() {
        let refusal = Refusal::later(Duration::from_millis(WAIT_MS));
        let told = || {
            let Reply { body, .. } = refused("t-1", None, &refusal);
            match serde_json::from_str(&body).unwrap() {
                Answer::Refused { retry_after_ms: Some(wait), .. } => wait,
                other => panic!("{other:?}"),
            }
        };
        let waits: Vec<u64> = (0..100).map(|_| told()).collect();
        let bounds = WAIT_MS..=WAIT_MS + WAIT_MS / 2;
        assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
