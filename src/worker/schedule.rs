//! Wake-ups as messages.

use crate::broker::delay;
use crate::broker::publisher::Outgoing;
use crate::domain::deadline::next_hop;
use crate::domain::input::{Trigger, WakeUp};
use crate::domain::interval::Timestamp;
use crate::message::envelope::WAKE_UP_TYPE;
use crate::message::{deterministic_id, wake_up};

use super::context::Context;

/// A wake-up to publish and then mark as scheduled.
pub struct ScheduledWakeUp {
    pub wake_up: WakeUp,
    pub message: Outgoing,
}

impl ScheduledWakeUp {
    /// ((instant, end of hop), message)
    pub fn into_parts(self) -> ((Timestamp, Timestamp), Outgoing) {
        ((self.wake_up.due_at, self.wake_up.scheduled_until), self.message)
    }
}

/// The next hop towards `due_at`; `now` is the database's clock.
pub fn hop(
    context: &Context,
    partition: i32,
    due_at: Timestamp,
    now: Timestamp,
) -> ScheduledWakeUp {
    let levels = context.shape.delay_levels;
    let hop = next_hop(now, due_at, delay::longest(levels));
    let wake_up =
        WakeUp { due_at, scheduled_until: hop.scheduled_until, trigger: Trigger::Message };
    ScheduledWakeUp { wake_up, message: message(context, partition, &wake_up, hop.units) }
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

fn message(context: &Context, partition: i32, wake_up: &WakeUp, units: u32) -> Outgoing {
    let (exchange, routing_key) = delay::route(context.shape.delay_levels, units, partition);
    let body = wake_up::encode(wake_up);
    Outgoing {
        exchange,
        routing_key,
        message_id: deterministic_id(&format!("wake_up/{partition}/{body}")).to_string(),
        type_name: WAKE_UP_TYPE.to_owned(),
        correlation_id: None,
        content_type: "application/json",
        // Validated by the broker: wake-ups count only from a worker's account.
        user_id: Some(context.settings.broker.account().to_owned()),
        headers: Vec::new(),
        body: body.into_bytes(),
        persistent: true,
    }
}
