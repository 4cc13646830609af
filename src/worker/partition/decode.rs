//! From deliveries to inputs. Malformed and rate-limited messages are answered without the
//! database.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::stages::{Decoded, Delivered};
use crate::crash_point;
use crate::domain::input::{Action, Command, Input};
use crate::domain::outcome::Refusal;
use crate::domain::refusal::Code;
use crate::engine::spans::BatchSpan;
use crate::message::command::Kind;
use crate::message::decode::{Decoded as Message, decode};
use crate::message::envelope::Received;
use crate::worker::about::about;
use crate::worker::context::Context;
use crate::worker::metrics::labels::{CommandKind, CommandOutcome};
use crate::worker::outgoing::{answer_to_probe, refusal};
use crate::worker::rate_limit::{RateLimit, Urgency};

pub(super) struct Decoder {
    pub partition: i32,
    pub rate_limit: Mutex<RateLimit>,
}

impl Decoder {
    pub fn decode(&self, context: &Context, delivered: Delivered) -> Decoded {
        let last_tag = delivered.last_tag();
        let messages = delivered.0.iter().map(|delivery| &delivery.message);
        let enqueued_at = messages.clone().filter_map(|message| message.enqueued_at).collect();
        let span = BatchSpan::begin(self.partition, messages);
        let (inputs, answers) = (Vec::new(), Vec::new());
        let mut decoded = Decoded { inputs, answers, enqueued_at, span, last_tag };
        for delivery in delivered.0 {
            self.decode_one(context, delivery.message, &mut decoded);
        }
        crash_point!("decoded");
        decoded
    }

    fn decode_one(&self, context: &Context, message: Received, decoded: &mut Decoded) {
        crash_point!(
            "poison",
            message.message_id.as_deref().is_some_and(|id| id.starts_with("poison"))
        );
        let now = context.clock.now();
        match decode(&message, |account| context.accounts.contains(account)) {
            Message::Input(Input::Command(command)) => {
                match self.take(context, &command, &message) {
                    Ok(()) => decoded.inputs.push((Input::Command(command), message)),
                    Err(wait) => {
                        let limited = Refusal::later(wait);
                        let kind = Kind::from(&command.action).into();
                        count(context, kind, &limited);
                        let (to, id) = (command.terminal.as_str(), command.message_id.as_str());
                        self.tell_refusal(limited.code, &message, &mut decoded.span);
                        decoded.answers.push(refusal(to, Some(id), &limited, &message, now));
                    }
                }
            }
            Message::Input(input) => decoded.inputs.push((input, message)),
            Message::Refused { terminal, refusal: why } => {
                let id = message.usable_message_id();
                count(context, CommandKind::Unreadable, &why);
                self.tell_refusal(why.code, &message, &mut decoded.span);
                decoded.answers.push(refusal(terminal.as_str(), id, &why, &message, now));
            }
            Message::Dead(reason) => {
                decoded.span.add(&message, reason.as_str());
                decoded.answers.push(context.dead_letter(&message, reason, Some(self.partition)));
            }
            Message::Probe(None) => {}
            Message::Probe(Some(id)) => decoded.answers.push(answer_to_probe(id, context.id)),
        }
    }

    fn tell_refusal(&self, code: Code, message: &Received, span: &mut BatchSpan) {
        about!(debug, self.partition, message, code = code.as_str(), "refused");
        span.add(message, code.as_str());
    }

    /// Counts a command, or says how long its sender must wait. A redelivered command is never
    /// rate-limited: it may already be decided. Nor is one that an operator has replayed.
    fn take(
        &self,
        context: &Context,
        command: &Command,
        message: &Received,
    ) -> Result<(), Duration> {
        let rate = context.rates.commands();
        if rate == 0 || message.redelivered || message.replay_of.is_some() {
            return Ok(());
        }
        let urgency = match command.action {
            Action::Reconfirm(_) | Action::Withdraw(_) => Urgency::Deadline,
            Action::Request(_) => Urgency::Ordinary,
        };
        let mut limit = self.rate_limit.lock().expect("nothing panics with it");
        limit.take(&command.terminal, urgency, rate, Instant::now())
    }
}

/// Counts a refusal without a decision.
fn count(context: &Context, kind: CommandKind, refusal: &Refusal) {
    context.metrics.commands.of(kind, CommandOutcome::Refused(refusal.code)).increment(1);
}
