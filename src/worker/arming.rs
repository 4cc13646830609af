//! Wake-ups as messages.

use crate::broker::delay;
use crate::broker::publisher::Outgoing;
use crate::domain::deadline::next_leg;
use crate::domain::interval::Instant;
use crate::domain::world::{Trigger, WakeUp};
use crate::message::envelope::WAKE_UP_TYPE;
use crate::message::{deterministic_id, wake_up};

use super::Context;

/// A wake-up on the next leg of its way to `due_at`, as of the database's clock `now`.
pub fn leg(context: &Context, partition: i32, due_at: Instant, now: Instant) -> (WakeUp, Outgoing) {
    let levels = context.shape.delay_levels;
    let leg = next_leg(now, due_at, delay::longest(levels));
    let wake_up = WakeUp { due_at, armed_until: leg.armed_until, trigger: Trigger::Message };
    (wake_up, message(context, partition, &wake_up, leg.units))
}

/// A wake-up for a passed instant, straight to the tail of its partition.
pub fn to_tail(
    context: &Context,
    partition: i32,
    due_at: Instant,
    now: Instant,
    trigger: Trigger,
) -> Outgoing {
    message(context, partition, &WakeUp { due_at, armed_until: now, trigger }, 0)
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
        // Validated by the broker: this is what makes a wake-up be believed.
        user_id: Some(context.settings.broker.account().to_owned()),
        headers: Vec::new(),
        body: body.into_bytes(),
        persistent: true,
    }
}
