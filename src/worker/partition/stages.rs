//! The values that a partition's pipeline passes on, from stage to stage.

use crate::broker::publisher::Outgoing;
use crate::domain::input::{Digest, Input};
use crate::message::envelope::Received;
use crate::store::outbox::Pending;
use crate::worker::schedule::ScheduledWakeUp;

/// One delivery.
pub(super) struct Delivery {
    /// The broker's number for it on this channel.
    pub tag: u64,
    pub message: Received,
}

/// Deliveries in queue order; at least one.
pub(super) struct Delivered(pub Vec<Delivery>);

impl Delivered {
    /// Acknowledging this one acknowledges all.
    pub fn last_tag(&self) -> u64 {
        self.0.last().map_or(0, |delivery| delivery.tag)
    }
}

/// Decoded deliveries.
pub(super) struct Decoded {
    /// What is to be decided, each with the message that it came in.
    pub inputs: Vec<(Input, Received)>,
    /// Answers and dead letters for the other messages, for which the database is not asked.
    pub answers: Vec<Outgoing>,
    /// The last delivery.
    pub last_tag: u64,
}

/// A batch that is committed.
#[derive(Default)]
pub(super) struct CommittedBatch {
    /// Answers, dead letters and wake-ups to the tail.
    pub answers: Vec<Outgoing>,
    /// Wake-ups that take the place of those that were delivered.
    pub rescheduled: Vec<ScheduledWakeUp>,
    /// What no acknowledgement has to wait for.
    pub deferred: Deferred,
    /// Isolated messages in it, to be cleared once they have not crashed the worker.
    pub isolated: Vec<Digest>,
    /// The last delivery that is done with it.
    pub last_tag: u64,
}

/// What is kept in the database and found there if it is not published: by the sweep and by the
/// relay.
#[derive(Default)]
pub(super) struct Deferred {
    /// The first wake-ups of new instants.
    pub scheduled: Vec<ScheduledWakeUp>,
    /// Events and notices.
    pub pending: Vec<Pending>,
}

impl Deferred {
    pub fn is_empty(&self) -> bool {
        self.scheduled.is_empty() && self.pending.is_empty()
    }
}

/// A batch whose answers the broker has confirmed.
pub(super) struct Published {
    /// Isolated messages in it.
    pub isolated: Vec<Digest>,
    /// What is published beside the answers.
    pub deferred: Deferred,
    /// The last delivery that is done with it.
    pub last_tag: u64,
}

/// A batch that is done with, but for what is deferred.
pub(super) struct Acknowledged {
    /// What is published beside the answers.
    pub deferred: Deferred,
}
