//! What a batch decides.

use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::id::{ServerId, TerminalId};
use super::interval::{Interval, Timestamp};
use super::trace::Trace;
use super::usage::Seen;

/// SHA-256 over what a repeat must not change.
pub type Digest = [u8; 32];

/// One thing to decide.
#[derive(Debug, Clone)]
pub enum Input {
    /// A terminal's command.
    Command(Command),
    /// The end of a hop towards an instant.
    WakeUp(WakeUp),
    /// The end of a server's commands in the partition that it leaves.
    Fence(Fence),
    /// An operator's cancellation.
    Cancel(Cancellation),
    /// An operator's request for another access key.
    Rotate(Rotation),
    /// The end of a confirmed reservation's time.
    Close(Closing),
}

/// A decoded command from an authenticated terminal.
#[derive(Debug, Clone)]
pub struct Command {
    /// The sender.
    pub terminal: TerminalId,
    /// Decided once per terminal (P2).
    pub message_id: String,
    /// Tells a repeat from a reused message id.
    pub digest: Digest,
    /// Named by the routing key.
    pub server: ServerId,
    /// What it asks for.
    pub action: Action,
    /// The sender's trace.
    pub trace: Option<Trace>,
}

/// What a command asks for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Reserve the server for an interval (R1).
    Request(Interval),
    /// Reconfirm a hold (R8).
    Reconfirm(Uuid),
    /// Give a reservation back before it is settled (R11).
    Withdraw(Uuid),
}

/// An operator's cancellation of a live reservation (R14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// The reservation.
    pub reservation: Uuid,
    /// Who.
    pub operator: String,
    /// Why.
    pub note: String,
}

/// An operator's request for another access key of a confirmed reservation (R16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The reservation.
    pub reservation: Uuid,
    /// Names the rotation, and the notice that it leads to.
    pub id: Uuid,
    /// Who.
    pub operator: String,
    /// Why.
    pub note: String,
}

/// The end of a confirmed reservation's time (R17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The reservation.
    pub reservation: Uuid,
    /// What gates saw of it.
    pub seen: Seen,
}

/// A worker's message to the tail of the partition that a server leaves. The broker sends the
/// server's commands to another queue by then, so all that this partition has to decide stands
/// before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// Which server moves.
    pub server: ServerId,
    /// Names the move. A fence of a move that is over changes nothing.
    pub id: Uuid,
}

/// Names one instant of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeUp {
    /// Deadlines up to this instant are settled.
    pub due_at: Timestamp,
    /// When this hop ended.
    pub scheduled_until: Timestamp,
    /// Its source.
    pub trigger: Trigger,
}

impl WakeUp {
    /// Whether this was the last hop. Behind an earlier one, reconfirmations may be in time (R9):
    /// it never settles, however late it is read.
    pub fn is_last_hop(&self) -> bool {
        self.scheduled_until >= self.due_at
    }
}

/// What sent a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// The delay ladder.
    Message,
    /// The sweep, for an overdue instant.
    Sweep,
}

impl Trigger {
    /// The word in wake-ups and history.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn the_last_hop_is_the_one_that_reaches_the_instant() {
        let due_at = Timestamp::UNIX_EPOCH;
        for (micros, is_last) in [(-1, false), (0, true), (1, true)] {
            let scheduled_until = due_at + TimeDelta::microseconds(micros);
            for trigger in [Trigger::Message, Trigger::Sweep] {
                let wake_up = WakeUp { due_at, scheduled_until, trigger };
                assert_eq!(wake_up.is_last_hop(), is_last, "{micros} {trigger:?}");
            }
        }
    }
}
