//! Wake-ups published by hand, as a worker's account may.

use chrono::{DateTime, Utc};
use holdfast::broker::delay::{DUE_EXCHANGE, partition_word};
use holdfast::broker::publisher::{Fate, Outgoing, Publisher};
use holdfast::domain::input::{Trigger, WakeUp};
use holdfast::message::wake_up;
use uuid::Uuid;

use super::stack::Stack;

impl Stack {
    /// Puts a wake-up at the tail of partition 0.
    pub async fn wake(&self, due_at: DateTime<Utc>, scheduled_until: DateTime<Utc>) {
        let wake_up = WakeUp { due_at, scheduled_until, trigger: Trigger::Message };
        let message = Outgoing {
            exchange: DUE_EXCHANGE.to_owned(),
            routing_key: partition_word(0),
            message_id: Uuid::new_v4().to_string(),
            type_name: "wake_up".to_owned(),
            correlation_id: None,
            content_type: "application/json",
            user_id: Some(self.broker.account().to_owned()),
            headers: Vec::new(),
            body: wake_up::encode(&wake_up).into_bytes(),
            persistent: true,
        };
        let mut publisher = Publisher::open(&self.amqp).await.expect("a channel");
        let fates = publisher.publish(&[message]).await.expect("published");
        assert_eq!(fates, [Fate::Routed]);
    }
}
