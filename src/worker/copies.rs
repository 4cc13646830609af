//! Publishes each event once more, for subscribers of the exchange of all events.
//!
//! Anybody may bind queues there, and the broker refuses a message for all if one of them does. So a
//! refusal says nothing of the others, who have it already: it is tried a few times and then left. The
//! biller's own way is elsewhere. See `docs/decisions/0030-bills-have-their-own-exchange.md`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connections::Connections;
use super::context::Context;
use super::messages;
use crate::broker::BrokerError;
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::broker::topology::EVENTS_EXCHANGE;
use crate::crash_point;
use crate::engine::spans::Phase;
use crate::store::error::StoreError;
use crate::store::outbox::{self, Copy};

/// Tries of a copy: at once, and after about 1, 5 and 21 seconds, so that a subscriber's queue survives an
/// election. Every other subscriber may get it as often.
const TRIES_MAX: i32 = 4;

/// Bound on the confirms of a round: a subscriber's queue may never confirm.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);

/// Refusals are logged as a sum: a full queue refuses every event.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum CopiesError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Runs at every sweep interval and when there are events. Makes a last round at `stop`.
pub async fn run(context: Arc<Context>, connections: Arc<Connections>, stop: CancellationToken) {
    let mut relay = Relay { context, connections, publisher: None, refused: Refused::default() };
    loop {
        if let Err(error) = relay.drain(&stop).await {
            warn!(%error, "publishing copies of events failed");
            relay.publisher = None;
        }
        relay.refused.log();
        if stop.is_cancelled() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = relay.context.copies_notified.notified() => {}
            () = tokio::time::sleep(relay.context.settings.sweep_interval) => {}
        }
    }
}

struct Relay {
    context: Arc<Context>,
    connections: Arc<Connections>,
    publisher: Option<Publisher>,
    refused: Refused,
}

impl Relay {
    /// The round that is in hand at `stop` is finished, and one more is made.
    async fn drain(&mut self, stop: &CancellationToken) -> Result<(), CopiesError> {
        loop {
            let stopped = stop.is_cancelled();
            // Before a try is counted.
            let publisher = match self.publisher.take() {
                Some(publisher) => publisher,
                None => Publisher::open(&self.connections.publish).await?,
            };
            let copies = outbox::claim_copies(&self.context.pool).await?;
            if copies.is_empty() {
                self.publisher = Some(publisher);
                return Ok(());
            }
            crash_point!("copies-claimed");
            self.publish(publisher, &copies).await?;
            if stopped {
                return Ok(());
            }
        }
    }

    async fn publish(
        &mut self,
        mut publisher: Publisher,
        copies: &[Copy],
    ) -> Result<(), CopiesError> {
        let messages: Vec<Outgoing> =
            copies.iter().map(|copy| messages::copy(&copy.message)).collect();
        let _spans: Vec<Phase> = copies.iter().map(|copy| messages::span(&copy.message)).collect();
        let fates = match timeout(PUBLISH_TIMEOUT, publisher.publish(&messages)).await {
            Ok(fates) => {
                self.publisher = Some(publisher);
                fates?
            }
            // What was not confirmed in time is refused, as far as this goes.
            Err(_) => vec![Fate::Refused; copies.len()],
        };
        crash_point!("copies-confirmed");
        let (mut done, mut again) = (Vec::new(), Vec::new());
        for (copy, fate) in copies.iter().zip(fates) {
            let refused = fate == Fate::Refused;
            let gives_up = refused && copy.tries >= TRIES_MAX;
            self.refused.add(refused, gives_up);
            if refused && !gives_up { &mut again } else { &mut done }.push(copy.message.seq);
        }
        if !again.is_empty() {
            outbox::postpone_copies(&self.context.pool, &again).await?;
        }
        Ok(outbox::delete(&self.context.pool, &done).await?)
    }
}

/// Refused copies since the last log line.
#[derive(Default)]
struct Refused {
    tries: u64,
    left: u64,
    logged: Option<Instant>,
}

impl Refused {
    fn add(&mut self, refused: bool, gives_up: bool) {
        self.tries += u64::from(refused);
        self.left += u64::from(gives_up);
    }

    fn log(&mut self) {
        if self.tries == 0 || self.logged.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        warn!(
            refused = self.tries,
            given_up = self.left,
            "copies of events were refused: a queue that others bound to the exchange \
             {EVENTS_EXCHANGE} is full or does not confirm. It misses events; bills are not concerned. \
             Look for it with `rabbitmqctl list_bindings`, and make room or unbind it"
        );
        *self = Self { logged: Some(Instant::now()), ..Self::default() };
    }
}
