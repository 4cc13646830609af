//! Probes the delay ladder with a message.
//!
//! The broker ignores unknown or misspelt arguments, so only a timely arrival proves that the
//! ladder works.

use std::time::Duration;

use tokio::time::{self, Instant};
use uuid::Uuid;

use super::BrokerError;
use super::connection::Connection;
use super::consumer::QueueConsumer;
use super::delay::{self, DUE_EXCHANGE};
use super::publisher::{Fate, Outgoing, Publisher};
use super::temporary;
use crate::domain::deadline::DELAY_UNIT;

/// Two levels. A single-level ladder allows only one unit.
const UNITS: u32 = 3;

/// A hop normally adds about 11 ms.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Arrived on time, after this long.
    Arrived(Duration),
    /// Too early.
    Early {
        /// The time it took.
        after: Duration,
        /// The least time it should have taken.
        due: Duration,
    },
    /// Not routed, or too late.
    Lost,
}

/// Sends a probe through the lowest of `levels` levels; waits about ten seconds at most.
pub async fn send(connection: &Connection, levels: u32) -> Result<Probe, BrokerError> {
    let word = format!("probe-{}", Uuid::new_v4());
    let queue = temporary::declare(connection, DUE_EXCHANGE, &[&format!("#.{word}")]).await?;
    let mut consumer = QueueConsumer::open(connection, &queue, 1).await?;
    let units = UNITS.min((1 << levels.min(u32::BITS - 1)) - 1);
    let (exchange, routing_key) = delay::route_to(levels, units, &word);
    let probe = Outgoing {
        exchange,
        routing_key,
        message_id: word,
        type_name: "delay_probe".to_owned(),
        correlation_id: None,
        content_type: "application/json",
        user_id: None,
        headers: Vec::new(),
        body: b"{}".to_vec(),
        persistent: true,
    };
    let sent = Instant::now();
    let fates = Publisher::open(connection).await?.publish(&[probe]).await?;
    if fates != [Fate::Routed] {
        return Ok(Probe::Lost);
    }
    let arrival = time::timeout(TIMEOUT, consumer.collect(1)).await;
    let after = sent.elapsed();
    let due = DELAY_UNIT.to_std().unwrap_or_default() * units;
    consumer.close().await?;
    match arrival {
        Err(_) => Ok(Probe::Lost),
        Ok(batch) => {
            batch?;
            Ok(if after < due { Probe::Early { after, due } } else { Probe::Arrived(after) })
        }
    }
}
