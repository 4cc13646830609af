//! What is decided: commands, wake-ups and operators' cancellations, in queue order.

use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

use super::id::{ServerId, TerminalId};
use super::interval::{Interval, Timestamp};

/// SHA-256 over everything in a command that must not differ when its message id is used again.
pub type Digest = [u8; 32];

/// One thing to decide, in the order in which it reached the broker's queue.
#[derive(Debug, Clone)]
pub enum Input {
    /// A terminal's command.
    Command(Command),
    /// An instant has come, or a hop on the way to it has ended.
    WakeUp(WakeUp),
    /// An operator cancels a reservation; from the command line, not from a queue.
    Cancel(Cancellation),
}

/// A decoded command of a terminal whose identity the broker has vouched for.
#[derive(Debug, Clone)]
pub struct Command {
    /// Who sent it.
    pub terminal: TerminalId,
    /// The sender's id for it; decided once per terminal (P2).
    pub message_id: String,
    /// Tells a repeat from another command under the same id.
    pub digest: Digest,
    /// The server that the routing header names. Queries need none.
    pub server: Option<ServerId>,
    /// What it asks for.
    pub action: Action,
}

/// What a command asks for.
#[derive(Debug, Clone)]
pub enum Action {
    /// Reserve the header's server for an interval (R1).
    Request(Interval),
    /// Reconfirm a hold (R8).
    Reconfirm(Uuid),
    /// Give a reservation back before it is settled (R11).
    Withdraw(Uuid),
    /// Ask for a reservation as it is now (R13).
    Show(Uuid),
    /// Ask for the user's reservations, newest first (R13).
    List(Page),
    /// Ask for a server's free places over time (R13).
    Availability(Window),
}

impl Action {
    /// Queries change nothing and their answers are not stored.
    pub fn is_query(&self) -> bool {
        matches!(self, Action::Show(_) | Action::List(_) | Action::Availability(_))
    }
}

/// One page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// The last id of the page before; `None` for the first page.
    pub after: Option<Uuid>,
    /// Most reservations on the page.
    pub limit: usize,
}

/// A span of one server's time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    /// Which server.
    pub server: ServerId,
    /// From when until when.
    pub interval: Interval,
}

/// An operator's request to cancel a live reservation (R14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// Which one.
    pub reservation: Uuid,
    /// Who asks for it.
    pub operator: String,
    /// Why, in the operator's words.
    pub note: String,
}

/// A message that names one instant of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WakeUp {
    /// The instant: what has its deadline at or before it is settled.
    pub due_at: Timestamp,
    /// When this hop ended.
    pub scheduled_until: Timestamp,
    /// What sent it.
    pub trigger: Trigger,
}

impl WakeUp {
    /// Whether this was the last hop on the way to its instant. An earlier one entered the queue
    /// before the instant, so reconfirmations behind it may still be in time (R9): it never settles,
    /// however late it is read.
    pub fn is_last_hop(&self) -> bool {
        self.scheduled_until >= self.due_at
    }
}

/// What brought a wake-up about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// The delay ladder.
    Message,
    /// The sweep, which found the instant overdue.
    Sweep,
}

impl Trigger {
    /// The word used in wake-ups and in the history.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
