//! What a batch decides.

use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use super::id::{ServerId, TerminalId};
use super::interval::{Interval, Timestamp};

/// SHA-256 over what a repeat must not change.
pub type Digest = [u8; 32];

/// One thing to decide.
#[derive(Debug, Clone)]
pub enum Input {
    /// A terminal's command.
    Command(Command),
    /// The end of a hop towards an instant.
    WakeUp(WakeUp),
    /// An operator's cancellation.
    Cancel(Cancellation),
}

/// A decoded command of an authenticated terminal.
#[derive(Debug, Clone)]
pub struct Command {
    /// The sender.
    pub terminal: TerminalId,
    /// Decided once per terminal (P2).
    pub message_id: String,
    /// Distinguishes a repeat from a reused id.
    pub digest: Digest,
    /// The routing header's; queries need none.
    pub server: Option<ServerId>,
    /// The action.
    pub action: Action,
}

/// What a command asks for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Reserve the header's server (R1).
    Request(Interval),
    /// Reconfirm a hold (R8).
    Reconfirm(Uuid),
    /// Withdraw before settlement (R11).
    Withdraw(Uuid),
    /// Show a reservation (R13).
    Show(Uuid),
    /// List reservations, newest first (R13).
    List(Page),
    /// Show free places over time (R13).
    Availability(Window),
}

impl Action {
    /// Queries change nothing; their answers are not stored.
    pub fn is_query(&self) -> bool {
        matches!(self, Action::Show(_) | Action::List(_) | Action::Availability(_))
    }
}

/// One page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// Last id of the previous page, if any.
    pub after: Option<Uuid>,
    /// Most reservations on the page.
    pub limit: usize,
}

/// A span of one server's time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    /// The server.
    pub server: ServerId,
    /// The span.
    pub interval: Interval,
}

/// An operator's cancellation (R14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// The reservation.
    pub reservation: Uuid,
    /// Who asks.
    pub operator: String,
    /// The reason.
    pub note: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
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
