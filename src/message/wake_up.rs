//! Wake-ups: messages from workers to partitions, delayed or direct.

use serde::{Deserialize, Serialize};

use crate::domain::input::WakeUp;
use crate::domain::interval::Timestamp;

/// Not part of the contract with terminals.
#[derive(Debug, Serialize, Deserialize)]
struct WakeUpBody {
    due_at: Timestamp,
    scheduled_until: Timestamp,
    trigger: String,
}

/// The body of a wake-up.
pub fn encode(wake_up: &WakeUp) -> String {
    let body = WakeUpBody {
        due_at: wake_up.due_at,
        scheduled_until: wake_up.scheduled_until,
        trigger: wake_up.trigger.as_str().to_owned(),
    };
    serde_json::to_string(&body).expect("a wake-up always serializes")
}

/// `None` if the body is no wake-up.
pub fn decode(body: &[u8]) -> Option<WakeUp> {
    let WakeUpBody { due_at, scheduled_until, trigger } = serde_json::from_slice(body).ok()?;
    Some(WakeUp { due_at, scheduled_until, trigger: trigger.parse().ok()? })
}
