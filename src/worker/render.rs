//! From decisions to what is stored and what is sent.

use chrono::SecondsFormat;

use crate::broker::publisher::Outgoing;
use crate::broker::topology::{DEAD, REPLIES_EXCHANGE};
use crate::domain::interval::Timestamp;
use crate::domain::reservation::Reservation;
use crate::domain::snapshot::{
    Action, Command, Decision, Outcome, Refusal, Step, WakeUp, WakeUpOutcome,
};
use crate::message::answer::Answer;
use crate::message::command::Kind;
use crate::message::deterministic_id;
use crate::message::envelope::{BODY_LEN_MAX, DeadReason, Received, printable};
use crate::store::announce::announcements;
use crate::store::batch::{Decided, Rendered};
use crate::store::save::DecidedCommand;

/// The content type of answers and notices.
const JSON: &str = "application/json";

/// What is to be done about one step once it is committed.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Answer it.
    Answer(Reply),
    /// Nobody to answer.
    Dead(DeadReason),
    /// Send the rest of the way to an instant.
    Reschedule(WakeUp),
    /// Send a fresh wake-up to the tail of the partition.
    ToTail(WakeUp),
    /// Nothing.
    None,
}

/// An answer to send.
#[derive(Debug, Clone)]
pub struct Reply {
    /// To whom.
    pub terminal: String,
    /// The command's message id, if it had a usable one.
    pub message_id: Option<String>,
    /// AMQP `type`.
    pub type_name: String,
    /// Body.
    pub body: String,
}

/// Renders a decided batch.
pub fn render(decided: &Decided, steps: &[Step]) -> (Rendered, Vec<Reaction>) {
    let mut commands = Vec::new();
    let mut reactions: Vec<Reaction> = Vec::with_capacity(steps.len());
    for (step, verdict) in steps.iter().zip(&decided.verdicts) {
        let reaction = match (step, verdict) {
            (Step::WakeUp(wake_up), Outcome::WakeUp(verdict)) => on_wake_up(*wake_up, *verdict),
            (Step::Command(command), Outcome::Decided { decision, order }) => {
                let answer = answer(decided, decision);
                let reply = reply(command, answer.type_name(), answer.to_json());
                commands.push(stored(command, decision, &answer, &reply.body, *order));
                Reaction::Answer(reply)
            }
            (Step::Command(command), Outcome::Answered(decision)) => {
                let answer = answer(decided, decision);
                Reaction::Answer(reply(command, answer.type_name(), answer.to_json()))
            }
            (Step::Command(command), Outcome::Undecided(refusal)) => Reaction::Answer(refused(
                command.terminal.as_str(),
                Some(&command.message_id),
                refusal,
            )),
            (Step::Command(command), Outcome::Replay(stored)) => {
                Reaction::Answer(reply(command, &stored.answer_type, stored.answer.clone()))
            }
            (_, Outcome::RepeatOf(step)) => reactions[*step].clone(),
            (_, Outcome::UnknownTerminal) => Reaction::Dead(DeadReason::UnknownTerminal),
            _ => Reaction::None,
        };
        reactions.push(reaction);
    }
    (
        Rendered { commands, announcements: announcements(&decided.world, &decided.effects) },
        reactions,
    )
}

fn on_wake_up(wake_up: WakeUp, verdict: WakeUpOutcome) -> Reaction {
    match verdict {
        WakeUpOutcome::Finished => Reaction::None,
        WakeUpOutcome::Reschedule => Reaction::Reschedule(wake_up),
        WakeUpOutcome::ToTail => Reaction::ToTail(wake_up),
    }
}

fn answer(decided: &Decided, decision: &Decision) -> Answer {
    Answer::to_decision(decision, decided.world.now, |reservation| url(decided, reservation))
}

fn url<'a>(decided: &'a Decided, reservation: &Reservation) -> Option<&'a str> {
    decided.world.servers.get(&reservation.server).map(|server| server.connection_url.as_str())
}

fn reply(command: &Command, type_name: &str, body: String) -> Reply {
    Reply {
        terminal: command.terminal.to_string(),
        message_id: Some(command.message_id.clone()),
        type_name: type_name.to_owned(),
        body,
    }
}

/// The answer to something that was not decided.
pub fn refused(terminal: &str, message_id: Option<&str>, refusal: &Refusal) -> Reply {
    let answer = Answer::refused(refusal, None);
    Reply {
        terminal: terminal.to_owned(),
        message_id: message_id.map(str::to_owned),
        type_name: answer.type_name().to_owned(),
        body: answer.to_json(),
    }
}

fn stored(
    command: &Command,
    decision: &Decision,
    answer: &Answer,
    body: &str,
    order: u32,
) -> DecidedCommand {
    let kind = match command.action {
        Action::Request { .. } => Kind::Request,
        Action::Reconfirm(_) => Kind::Reconfirm,
        Action::Withdraw(_) => Kind::Withdraw,
        Action::Show(_) => Kind::Show,
        Action::List { .. } => Kind::List,
        Action::Availability { .. } => Kind::Availability,
    };
    let reservation = match decision {
        Decision::Accepted { reservation, .. }
        | Decision::Reconfirmed(reservation)
        | Decision::Withdrawn(reservation)
        | Decision::Shown(reservation) => Some(reservation.id),
        Decision::Listed { .. } | Decision::Availability(_) | Decision::Refused(_) => None,
    };
    DecidedCommand {
        terminal: command.terminal.to_string(),
        message_id: command.message_id.clone(),
        kind: kind.as_str(),
        digest: command.digest,
        outcome: answer.outcome().to_owned(),
        answer_type: answer.type_name(),
        answer: body.to_owned(),
        server: command.server.as_ref().map(ToString::to_string),
        reservation,
        order,
    }
}

/// An answer as a message. Its id is the same whenever it is sent, its `sent-at` is not.
pub fn outgoing_reply(reply: Reply, traceparent: Option<&str>, now: Timestamp) -> Outgoing {
    // Over the body too: an answer that was not a decision may be followed by one that is.
    let id = reply.message_id.as_deref().unwrap_or_default();
    let name = format!("answer/{}/{id}/{}", reply.terminal, reply.body);
    let mut headers = vec![("sent-at", now.to_rfc3339_opts(SecondsFormat::Millis, true))];
    headers.extend(traceparent.map(|trace| ("traceparent", trace.to_owned())));
    Outgoing {
        exchange: REPLIES_EXCHANGE.to_owned(),
        routing_key: reply.terminal,
        message_id: deterministic_id(&name).to_string(),
        type_name: reply.type_name,
        correlation_id: reply.message_id,
        content_type: JSON,
        user_id: None,
        headers,
        body: reply.body.into_bytes(),
        persistent: true,
    }
}

/// A message as a dead letter. Received headers are never copied: some steer the broker.
pub fn outgoing_dead(received: &Received, reason: DeadReason, partition: i32) -> Outgoing {
    let mut headers = vec![
        ("reason", reason.as_str().to_owned()),
        ("partition", partition.to_string()),
        ("routing-key", printable(&received.routing_key)),
    ];
    headers.extend(received.user_id.as_deref().map(|account| ("account", printable(account))));
    headers.extend(received.message_id.as_deref().map(|id| ("original-id", printable(id))));
    let mut body = received.body.clone();
    body.truncate(BODY_LEN_MAX);
    let digest = format!("dead/{}/{:?}/{:?}", reason.as_str(), received.message_id, body);
    Outgoing {
        exchange: DEAD.to_owned(),
        routing_key: reason.as_str().to_owned(),
        message_id: deterministic_id(&digest).to_string(),
        type_name: "dead_letter".to_owned(),
        correlation_id: None,
        content_type: "application/octet-stream",
        user_id: None,
        headers,
        body,
        persistent: true,
    }
}
