//! Values between a pipeline's stages.

use crate::broker::publisher::Outgoing;
use crate::domain::id::ServerId;
use crate::domain::input::{Digest, Input};
use crate::domain::interval::Timestamp;
use crate::engine::spans::BatchSpan;
use crate::message::envelope::Received;
use crate::store::outbox::Pending;
use crate::worker::schedule::ScheduledWakeUp;

pub(super) struct Delivery {
    pub tag: u64,
    pub message: Received,
}

/// In queue order; at least one.
pub(super) struct Delivered(pub Vec<Delivery>);

impl Delivered {
    /// Acknowledging this one acknowledges all.
    pub fn last_tag(&self) -> u64 {
        self.0.last().map_or(0, |delivery| delivery.tag)
    }
}

pub(super) struct Decoded {
    /// To be decided, each with its message.
    pub inputs: Vec<(Input, Received)>,
    /// For messages that need no database.
    pub answers: Vec<Outgoing>,
    /// When the broker got the messages, where it says so.
    pub enqueued_at: Vec<Timestamp>,
    pub span: BatchSpan,
    pub last_tag: u64,
}

#[derive(Default)]
pub(super) struct CommittedBatch {
    /// Answers, dead letters and wake-ups to the tail.
    pub answers: Vec<Outgoing>,
    /// Wake-ups that replace delivered ones.
    pub rescheduled: Vec<ScheduledWakeUp>,
    /// No acknowledgement waits for these.
    pub deferred: Deferred,
    /// Isolated messages, to be cleared if they do not crash the worker.
    pub isolated: Vec<Digest>,
    /// When the broker got the messages, where it says so.
    pub enqueued_at: Vec<Timestamp>,
    /// Ends once it is acknowledged.
    pub span: BatchSpan,
    pub last_tag: u64,
}

/// Also in the database, where sweep and relay find what was not published.
#[derive(Default)]
pub(super) struct Deferred {
    /// First wake-ups of new instants.
    pub scheduled: Vec<ScheduledWakeUp>,
    /// Bills and notices.
    pub pending: Vec<Pending>,
    /// Servers of which something is newly admitted.
    pub admitting: Vec<ServerId>,
}

impl Deferred {
    pub fn is_empty(&self) -> bool {
        self.scheduled.is_empty() && self.pending.is_empty()
    }
}

/// A batch whose answers are confirmed.
pub(super) struct Published {
    pub isolated: Vec<Digest>,
    pub deferred: Deferred,
    pub span: BatchSpan,
    pub last_tag: u64,
}

pub(super) struct Acknowledged {
    pub deferred: Deferred,
}
