//! Sends a message through the delay ladder, as a probe.
//!
//! The broker accepts unknown or misspelt arguments silently. Only a message that arrives in time
//! shows that the ladder works.

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

/// Delay of the probe in units, which takes it through two levels. A ladder with a single level has
/// no longer delay than one unit.
const UNITS: u32 = 3;

/// How long the probe may take. A hop normally adds about 11 ms.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It arrived on time, after this long.
    Arrived(Duration),
    /// It arrived too early.
    Early {
        /// How long it took.
        after: Duration,
        /// How long it should have taken at least.
        due: Duration,
    },
    /// It was not routed or did not arrive in time.
    Lost,
}

/// Sends a probe through the lowest levels of a ladder with `levels` levels and waits for it, for
/// at most about ten seconds.
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
