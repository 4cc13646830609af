//! Decodes a message to an input, a refusal or a dead letter.

use sha2::{Digest as _, Sha256};

use super::command::{self, Kind};
use super::envelope::{DeadReason, Received, WAKE_UP_TYPE};
use super::wake_up;
use crate::domain::id::{ServerId, TerminalId};
use crate::domain::input::{Command, Digest, Input};
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;

/// A decoded message.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// To be decided.
    Input(Input),
    /// Refused without a decision.
    Refused {
        /// The sender.
        terminal: TerminalId,
        /// What is wrong.
        refusal: Refusal,
    },
    /// There is no terminal to answer.
    Dead(DeadReason),
}

/// Wake-ups count only from the broker account `worker_account`.
pub fn decode(received: &Received, worker_account: &str) -> Decoded {
    if received.user_id.as_deref() == Some(worker_account) {
        // Workers send only wake-ups; their account is never a terminal's.
        return match received.kind.as_deref() {
            Some(WAKE_UP_TYPE) => match wake_up::decode(&received.body) {
                Some(wake_up) => Decoded::Input(Input::WakeUp(wake_up)),
                None => Decoded::Dead(DeadReason::InvalidWakeUp),
            },
            _ => Decoded::Dead(DeadReason::Unauthenticated),
        };
    }
    let Some(terminal) = received.sender() else {
        return Decoded::Dead(DeadReason::Unauthenticated);
    };
    match decode_command(received, &terminal) {
        Ok(command) => Decoded::Input(Input::Command(command)),
        Err(refusal) => Decoded::Refused { terminal, refusal },
    }
}

fn decode_command(received: &Received, terminal: &TerminalId) -> Result<Command, Refusal> {
    let (word, message_id) = received.check(terminal)?;
    let kind =
        Kind::parse(word).ok_or_else(|| Refusal::of_field(Code::UnknownCommand, "routing_key"))?;
    if received.kind.as_deref().is_some_and(|stated| stated != kind.as_str()) {
        return Err(Refusal::of_field(Code::InconsistentMessage, "type"));
    }
    let server = server_header(received, kind)?;
    let action = command::read_body(kind, server.as_ref(), &received.body)?;
    Ok(Command {
        terminal: terminal.clone(),
        message_id: message_id.to_owned(),
        digest: digest(kind, server.as_ref(), &received.body),
        server,
        action,
    })
}

fn server_header(received: &Received, kind: Kind) -> Result<Option<ServerId>, Refusal> {
    const FIELD: &str = "headers.server";
    match &received.server {
        None if kind.needs_server_header() => Err(Refusal::of_field(Code::MissingField, FIELD)),
        None => Ok(None),
        Some(Err(())) => Err(Refusal::of_field(Code::InvalidType, FIELD)),
        Some(Ok(text)) => match ServerId::parse(text) {
            Ok(server) => Ok(Some(server)),
            Err(_) => Err(Refusal::of_field(Code::InvalidText, FIELD)),
        },
    }
}

/// NUL separates the parts: kinds and server ids contain none.
fn digest(kind: Kind, server: Option<&ServerId>, body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(kind.as_str());
    hash.update([0]);
    hash.update(server.map_or("", ServerId::as_str));
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}
