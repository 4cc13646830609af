//! Wake-ups as messages.

use crate::broker::delay;
use crate::broker::publisher::Outgoing;
use crate::domain::deadline::next_hop;
use crate::domain::input::{Fence, Trigger, WakeUp};
use crate::domain::interval::Timestamp;
use crate::message::envelope::{FENCE_TYPE, WAKE_UP_TYPE};
use crate::message::{deterministic_id, fence, wake_up};
use crate::store::timers::Hop;

use super::context::Context;

/// A wake-up to publish and then mark as scheduled.
pub struct ScheduledWakeUp {
    pub partition: i32,
    pub wake_up: WakeUp,
    pub message: Outgoing,
}

impl ScheduledWakeUp {
    /// What is marked, and what is published.
    pub fn into_parts(self) -> (Hop, Outgoing) {
        let WakeUp { due_at, scheduled_until, .. } = self.wake_up;
        (Hop { partition: self.partition, due_at, scheduled_until }, self.message)
    }
}

/// The next hop towards `due_at`; `now` is the database's clock.
pub fn hop(
    context: &Context,
    partition: i32,
    due_at: Timestamp,
    now: Timestamp,
) -> ScheduledWakeUp {
    let levels = context.delay_levels;
    let hop = next_hop(now, due_at, delay::longest(levels));
    let wake_up =
        WakeUp { due_at, scheduled_until: hop.scheduled_until, trigger: Trigger::Message };
    ScheduledWakeUp {
        partition,
        wake_up,
        message: message(context, partition, &wake_up, hop.units),
    }
}

/// A wake-up for a passed instant, directly to the partition's tail.
pub fn to_tail(
    context: &Context,
    partition: i32,
    due_at: Timestamp,
    now: Timestamp,
    trigger: Trigger,
) -> Outgoing {
    message(context, partition, &WakeUp { due_at, scheduled_until: now, trigger }, 0)
}

/// A fence, to the tail of the partition that its server leaves.
pub fn fence_to_tail(context: &Context, partition: i32, fence: &Fence) -> Outgoing {
    internal(context, partition, FENCE_TYPE, fence::encode(fence), 0)
}

fn message(context: &Context, partition: i32, wake_up: &WakeUp, units: u32) -> Outgoing {
    internal(context, partition, WAKE_UP_TYPE, wake_up::encode(wake_up), units)
}

/// A message from a worker to a partition, after a delay of `units`.
fn internal(
    context: &Context,
    partition: i32,
    type_name: &str,
    body: String,
    units: u32,
) -> Outgoing {
    let (exchange, routing_key) = delay::route(context.delay_levels, units, partition);
    Outgoing {
        exchange,
        routing_key,
        message_id: deterministic_id(&format!("{type_name}/{partition}/{body}")).to_string(),
        type_name: type_name.to_owned(),
        correlation_id: None,
        content_type: "application/json",
        // The broker validates it: such messages count only from a worker's account.
        user_id: Some(context.settings.broker.account().to_owned()),
        headers: Vec::new(),
        body: body.into_bytes(),
        persistent: true,
    }
}
