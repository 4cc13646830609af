//! The labels of metrics. The values of each are a closed list, so none of them is an id.

use strum::{IntoStaticStr, VariantArray};

use crate::broker::publisher::Fate;
use crate::broker::topology::{BILLING_EXCHANGE, DEAD, EVENTS_EXCHANGE, REPLIES_EXCHANGE};
use crate::domain::input::Trigger;
use crate::domain::query::Asked;
use crate::domain::refusal::Code;
use crate::engine::tally::CommandEnd;
use crate::message::command::Kind;
use crate::message::envelope::DeadReason;
use crate::worker::health::check::Check;

/// A label that a counter or histogram has a series for each value of.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value.
    fn words() -> Vec<&'static str>;
    /// Its place among [`Label::words`].
    fn index(self) -> usize;
}

/// A label whose values are the variants of an enum.
macro_rules! label {
    ($type:ty, $name:literal) => {
        impl Label for $type {
            const NAME: &'static str = $name;

            fn words() -> Vec<&'static str> {
                <$type>::VARIANTS.iter().map(|variant| variant.into()).collect()
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CommandKind {
    Request,
    Reconfirm,
    Withdraw,
    /// Refused before it was known.
    Unreadable,
}
label!(CommandKind, "kind");

impl From<Kind> for CommandKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Request => Self::Request,
            Kind::Reconfirm => Self::Reconfirm,
            Kind::Withdraw => Self::Withdraw,
            // A partition takes no queries.
            Kind::Show | Kind::List | Kind::Availability => Self::Unreadable,
        }
    }
}

/// What a query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum QueryKind {
    Show,
    List,
    Availability,
    /// Refused before it was known.
    Unreadable,
}
label!(QueryKind, "kind");

impl From<&Asked> for QueryKind {
    fn from(asked: &Asked) -> Self {
        match asked {
            Asked::Reservation(_) => Self::Show,
            Asked::Page(_) => Self::List,
            Asked::Availability(_) => Self::Availability,
        }
    }
}

/// What became of a command: what was done, or the code of its refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    Accepted,
    Reconfirmed,
    Withdrawn,
    Refused(Code),
}

impl CommandOutcome {
    /// `None`: a repeat, which is counted elsewhere.
    pub fn of(end: CommandEnd) -> Option<Self> {
        match end {
            CommandEnd::Accepted => Some(Self::Accepted),
            CommandEnd::Reconfirmed => Some(Self::Reconfirmed),
            CommandEnd::Withdrawn => Some(Self::Withdrawn),
            CommandEnd::Refused(code) => Some(Self::Refused(code)),
            CommandEnd::Repeated => None,
        }
    }
}

/// The outcomes that are no refusal, as in the history.
const DONE: [&str; 3] = ["accepted", "reconfirmed", "withdrawn"];

impl Label for CommandOutcome {
    const NAME: &'static str = "outcome";

    fn words() -> Vec<&'static str> {
        DONE.into_iter().chain(Code::ALL.iter().map(|code| code.as_str())).collect()
    }

    fn index(self) -> usize {
        match self {
            Self::Accepted => 0,
            Self::Reconfirmed => 1,
            Self::Withdrawn => 2,
            Self::Refused(code) => DONE.len() + code as usize,
        }
    }
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryOutcome {
    Answered,
    /// It had waited for as long as the queue keeps queries.
    Dropped,
    Refused(Code),
}

/// The outcomes that are no refusal.
const NOT_REFUSED: [&str; 2] = ["answered", "dropped"];

impl Label for QueryOutcome {
    const NAME: &'static str = "outcome";

    fn words() -> Vec<&'static str> {
        NOT_REFUSED.into_iter().chain(Code::ALL.iter().map(|code| code.as_str())).collect()
    }

    fn index(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::Dropped => 1,
            Self::Refused(code) => NOT_REFUSED.len() + code as usize,
        }
    }
}

label!(Trigger, "trigger");
label!(Check, "check");
label!(DeadReason, "reason");

/// What a settlement makes of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Settled {
    Confirmed,
    Cancelled,
}
label!(Settled, "state");

/// A phase of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    Load,
    Decide,
    Save,
    Publish,
    Acknowledge,
}
label!(Phase, "phase");

/// What is done about a batch whose transaction failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Remedy {
    Retry,
    Wait,
    Halve,
    Park,
}
label!(Remedy, "action");

/// Where a message is published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum To {
    /// Answers and notices.
    Terminals,
    /// Bills.
    Biller,
    /// Copies of events.
    Subscribers,
    /// Dead letters.
    DeadLetters,
    /// Wake-ups and fences.
    Partitions,
}
label!(To, "to");

impl To {
    /// Judges by the exchange.
    pub fn of(exchange: &str) -> Self {
        match exchange {
            REPLIES_EXCHANGE => Self::Terminals,
            BILLING_EXCHANGE => Self::Biller,
            EVENTS_EXCHANGE => Self::Subscribers,
            DEAD => Self::DeadLetters,
            _ => Self::Partitions,
        }
    }
}

/// What the broker says about a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Confirm {
    Routed,
    Unroutable,
    Refused,
    /// Nothing: the connection broke, or it took too long.
    Unknown,
}
label!(Confirm, "result");

impl From<Fate> for Confirm {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Routed => Self::Routed,
            Fate::Unroutable => Self::Unroutable,
            Fate::Refused => Self::Refused,
        }
    }
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Engine {
    Broker,
    Database,
}
label!(Engine, "engine");

/// Which pool of connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PoolName {
    Decisions,
    Queries,
}
label!(PoolName, "pool");

/// State of a pool's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PoolState {
    Used,
    Idle,
}
label!(PoolState, "state");

/// Which of the outbox's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Pending {
    /// Bills and notices.
    Message,
    /// Copies of events.
    Copy,
}
label!(Pending, "kind");

/// Whether a timer's wake-up is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TimerState {
    Waiting,
    Sent,
}
label!(TimerState, "state");

/// A queue that is no partition's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum QueueName {
    Queries,
    Billing,
    Dead,
}
label!(QueueName, "queue");
