//! Decodes messages of the partitions and of the query queue.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::command::{self, Kind};
use super::envelope::{DeadReason, FENCE_TYPE, PROBE_TYPE, Received, WAKE_UP_TYPE};
use super::{fence, query, wake_up};
use crate::domain::id::{ServerId, TerminalId};
use crate::domain::input::{Command, Digest, Input};
use crate::domain::outcome::Refusal;
use crate::domain::query::Query;
use crate::domain::refusal::Code;

/// A decoded message: a `T`, or why it is none.
#[derive(Debug, Clone)]
pub enum Decoded<T> {
    /// To be decided or answered.
    Input(T),
    /// Refused without a decision.
    Refused {
        /// The sender.
        terminal: TerminalId,
        /// What is wrong.
        refusal: Refusal,
    },
    /// There is no terminal to answer.
    Dead(DeadReason),
    /// It has shown that it arrives, and asks for nothing, or for an answer under this id.
    Probe(Option<Uuid>),
}

/// Decodes a message of a partition. Wake-ups and fences count only from broker accounts that are
/// workers'.
pub fn decode(received: &Received, is_workers: impl Fn(&str) -> bool) -> Decoded<Input> {
    if received.user_id.as_deref().is_some_and(is_workers) {
        // A worker's account is never a terminal's.
        return decode_internal(received);
    }
    decode_with(received, |terminal| decode_command(received, terminal).map(Input::Command))
}

/// Decodes a message of the query queue.
pub fn decode_query(received: &Received) -> Decoded<Query> {
    decode_with(received, |terminal| {
        let (kind, surplus, message_id) = addressed(received, terminal, Kind::is_query)?;
        if surplus.is_some() {
            return Err(Refusal::of_field(Code::UnknownCommand, "routing_key"));
        }
        Ok(Query {
            terminal: terminal.clone(),
            message_id: message_id.to_owned(),
            asked: query::read_body(kind, &received.body)?,
        })
    })
}

fn decode_internal(received: &Received) -> Decoded<Input> {
    let (input, otherwise) = match received.kind.as_deref() {
        Some(WAKE_UP_TYPE) => {
            (wake_up::decode(&received.body).map(Input::WakeUp), DeadReason::InvalidWakeUp)
        }
        Some(FENCE_TYPE) => {
            (fence::decode(&received.body).map(Input::Fence), DeadReason::InvalidFence)
        }
        _ => (None, DeadReason::Unauthenticated),
    };
    input.map_or(Decoded::Dead(otherwise), Decoded::Input)
}

fn decode_with<T>(
    received: &Received,
    decode: impl FnOnce(&TerminalId) -> Result<T, Refusal>,
) -> Decoded<T> {
    let Some(terminal) = received.sender() else {
        let probes = received.user_id.is_none() && received.kind.as_deref() == Some(PROBE_TYPE);
        return match probes {
            true => Decoded::Probe(probe_to_answer(received)),
            false => Decoded::Dead(DeadReason::Unauthenticated),
        };
    };
    match decode(&terminal) {
        Ok(input) => Decoded::Input(input),
        Err(refusal) => Decoded::Refused { terminal, refusal },
    }
}

/// A terminal's probe is not answered: it could make workers publish as much as it likes.
fn probe_to_answer(received: &Received) -> Option<Uuid> {
    received.message_id.as_deref().filter(|_| received.from_ladder)?.parse().ok()
}

fn decode_command(received: &Received, terminal: &TerminalId) -> Result<Command, Refusal> {
    let (kind, server, message_id) = addressed(received, terminal, |kind| !kind.is_query())?;
    let at_fault = |code| Refusal::of_field(code, "routing_key");
    let server = server.ok_or_else(|| at_fault(Code::MissingField))?;
    let server = ServerId::parse(server).map_err(|_| at_fault(Code::InvalidText))?;
    let action = command::read_body(kind, &received.body)?;
    let digest = digest(kind, &server, &received.body);
    let (terminal, message_id) = (terminal.clone(), message_id.to_owned());
    Ok(Command { terminal, message_id, digest, server, action })
}

/// Checks the envelope. Returns the kind, which must be one of those `expected` in this queue, the
/// routing key's server, and the message id.
fn addressed<'a>(
    received: &'a Received,
    terminal: &TerminalId,
    expected: impl Fn(Kind) -> bool,
) -> Result<(Kind, Option<&'a str>, &'a str), Refusal> {
    let (word, server, message_id) = received.check(terminal)?;
    let kind = Kind::parse(word).filter(|kind| expected(*kind));
    let kind = kind.ok_or_else(|| Refusal::of_field(Code::UnknownCommand, "routing_key"))?;
    if received.kind.as_deref().is_some_and(|stated| stated != kind.as_str()) {
        return Err(Refusal::of_field(Code::InconsistentMessage, "type"));
    }
    Ok((kind, server, message_id))
}

/// NUL ends kind and server, which contain none.
fn digest(kind: Kind, server: &ServerId, body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(kind.as_str());
    hash.update([0]);
    hash.update(server.as_str());
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}
