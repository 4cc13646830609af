//! A message through the delay ladder.
//!
//! The broker takes arguments that it does not know, or that are misspelt, without a word; only a
//! message that comes out in time shows that the ladder works.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::BrokerError;
use super::connection::Connection;
use super::consumer::QueueConsumer;
use super::delay::{self, DUE_EXCHANGE};
use super::publisher::{Fate, Outgoing, Publisher};
use super::temporary;
use crate::domain::deadline::DELAY_UNIT;

/// Three is two levels and the step between them; a ladder of one level has just one unit.
const UNITS: u32 = 3;

/// How long the canary may take; a hop takes about 11 ms when all is well.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of the canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flight {
    /// It arrived after this long, and not too early.
    Arrived(Duration),
    /// It arrived before its time.
    Early {
        /// When it arrived.
        after: Duration,
        /// When it was due.
        due: Duration,
    },
    /// It went nowhere or did not arrive in time.
    Lost,
}

/// Sends a message through the lowest levels of a ladder with `levels` and waits for it, at most
/// about ten seconds.
pub async fn fly(connection: &Connection, levels: u32) -> Result<Flight, BrokerError> {
    let word = format!("canary-{}", Uuid::new_v4());
    let queue = temporary::declare(connection, DUE_EXCHANGE, &[&format!("#.{word}")]).await?;
    let mut consumer = QueueConsumer::open(connection, &queue, 1).await?;
    let units = UNITS.min((1 << levels.min(u32::BITS - 1)) - 1);
    let (exchange, routing_key) = delay::route_to(levels, units, &word);
    let canary = Outgoing {
        exchange,
        routing_key,
        message_id: word,
        type_name: "canary".to_owned(),
        correlation_id: None,
        content_type: "application/json",
        user_id: None,
        headers: Vec::new(),
        body: b"{}".to_vec(),
        persistent: true,
    };
    let sent = Instant::now();
    let fates = Publisher::open(connection).await?.publish(&[canary]).await?;
    if fates != [Fate::Routed] {
        return Ok(Flight::Lost);
    }
    let arrived = timeout(PATIENCE, consumer.collect(1)).await;
    let after = sent.elapsed();
    let due = DELAY_UNIT.to_std().unwrap_or_default() * units;
    consumer.close().await?;
    match arrived {
        Err(_) => Ok(Flight::Lost),
        Ok(batch) => {
            batch?;
            Ok(if after < due { Flight::Early { after, due } } else { Flight::Arrived(after) })
        }
    }
}
