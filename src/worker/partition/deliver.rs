//! From the queue: what is ready, up to a batch.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::stages::{Delivered, Delivery};
use crate::broker::BrokerError;
use crate::broker::consumer::{QueueConsumer, received};

/// Least time from the start of one batch to that of the next. A batch costs the broker and the
/// database much the same whatever is in it. Without a pace, a worker that is done at once (with
/// refusals, say) wears both out with batches of a handful, at everybody's expense.
/// See `docs/decisions/0010-pace-of-small-batches.md`.
const PACE: Duration = Duration::from_millis(20);

/// Batches of fewer messages are not paced: a terminal that sends one command after the other would
/// be held up, and little gained.
const PACED_MIN: usize = 4;

/// A partition's queue as it is read.
pub(super) struct Inbox {
    consumer: QueueConsumer,
    batch_max: usize,
    not_before: Instant,
}

impl Inbox {
    pub fn new(consumer: QueueConsumer, batch_max: usize) -> Self {
        Self { consumer, batch_max, not_before: Instant::now() }
    }

    /// Waits for the next batch, and at least as long as the last one's pace.
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

    /// Lets go of the queue; what is not acknowledged goes back in order.
    pub async fn close(self) -> Result<(), BrokerError> {
        self.consumer.close().await
    }
}

/// How long after the start of a batch the next one may begin. A full one leaves more to fetch, so
/// there is no wait after it.
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
