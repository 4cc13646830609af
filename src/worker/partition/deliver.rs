//! Takes ready messages from the queue, up to a batch.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::stages::{Delivered, Delivery};
use crate::broker::BrokerError;
use crate::broker::consumer::{QueueConsumer, received};

/// Minimum time between the starts of two batches. A batch's cost hardly depends on its size, so a
/// worker that is done quickly (refusing a flood, say) would overload broker and database with tiny
/// batches. See `docs/decisions/0010-pace-of-small-batches.md`.
const PACE: Duration = Duration::from_millis(20);

/// Smaller batches are not paced: that would delay a terminal which sends one command at a time,
/// and gain little.
const PACED_MIN: usize = 4;

pub(super) struct Inbox {
    consumer: QueueConsumer,
    batch_max: usize,
    not_before: Instant,
}

impl Inbox {
    pub fn new(consumer: QueueConsumer, batch_max: usize) -> Self {
        Self { consumer, batch_max, not_before: Instant::now() }
    }

    /// Waits for the next batch, no sooner than the pace allows.
    pub async fn next(&mut self) -> Result<Delivered, BrokerError> {
        sleep_until(self.not_before.into()).await;
        let deliveries = self.consumer.collect(self.batch_max).await?;
        self.not_before = Instant::now() + pace(deliveries.len(), self.batch_max);
        let delivery = |delivery: lapin::message::Delivery| Delivery {
            tag: delivery.delivery_tag,
            message: received(delivery),
        };
        Ok(Delivered(deliveries.into_iter().map(delivery).collect()))
    }

    /// Releases the queue; unacknowledged messages return in order.
    pub async fn close(self) -> Result<(), BrokerError> {
        self.consumer.close().await
    }
}

/// A full batch is not paced: it leaves more to fetch.
fn pace(messages: usize, batch_max: usize) -> Duration {
    if (PACED_MIN..batch_max).contains(&messages) { PACE } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_batches_that_may_grow_are_paced() {
        for (messages, paced) in [(1, false), (3, false), (4, true), (99, true), (100, false)] {
            assert_eq!(
                pace(messages, 100),
                if paced { PACE } else { Duration::ZERO },
                "{messages}"
            );
        }
        assert_eq!(pace(1, 1), Duration::ZERO);
    }
}
