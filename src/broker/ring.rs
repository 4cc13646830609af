//! The hash ring that routes commands to partitions by their header `server`.
//!
//! A partition's places on the ring follow from the order in which the partitions were bound, and
//! the broker does not keep that order. After a restart it restores durable bindings sorted by name
//! and several at a time: `10` comes before `2`, and sometimes one binding overtakes others
//! (RabbitMQ 3.10). A server's commands would then arrive in another partition than its wake-ups,
//! and the order of decision between them would be lost.
//!
//! So the ring is not durable. A restart of the broker deletes it, and commands become unroutable,
//! which the broker reports to their sender instead of a confirm. The first worker that connects
//! again, or `topology apply`, rebuilds the ring in order and binds it to the commands' exchange
//! last. What the partitions hold is durable and unaffected.
//!
//! See `docs/decisions/0020-transient-ring-of-partitions.md`.

use std::time::Duration;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::lookup::Lookup;
use super::topology::{COMMANDS_EXCHANGE, partition_queue};
use super::{BrokerError, bounded};

/// Spreads commands over the partitions by the header `server`.
pub const PARTITIONS_EXCHANGE: &str = "reservation.partitions.v2";

/// The durable ring of former versions. If both existed, each command would arrive twice.
const RETIRED: &str = "reservation.partitions.v1";

/// An exclusive queue that serves as a lock: only the connection that declared it changes the ring.
/// The broker deletes it with the connection, so others wait for a frozen holder only until its
/// connection times out.
const LOCK: &str = "reservation.partitions.v2.lock";

/// Pause between two tries to take the lock. It is held for some milliseconds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How long to try. The broker closes a silent holder's connection after two heartbeats of ten
/// seconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// AMQP's code for what another connection has declared exclusively.
const RESOURCE_LOCKED: u16 = 405;

/// All partitions weigh the same. For this type of exchange, a binding's key is its weight.
const WEIGHT: &str = "1";

/// Adds what the ring lacks; after a restart of the broker, that is all of it.
pub async fn complete(connection: &Connection, partitions: i32) -> Result<(), BrokerError> {
    let channel = lock(connection).await?;
    build(&channel, partitions).await?;
    unlock(channel).await
}

/// Deletes the ring and builds it again. Commands are unroutable meanwhile.
pub(super) async fn rebuild(connection: &Connection, partitions: i32) -> Result<(), BrokerError> {
    let channel = lock(connection).await?;
    // Deleting what does not exist is no error.
    for name in [RETIRED, PARTITIONS_EXCHANGE] {
        let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
        bounded(format!("deleting exchange {name}"), deleted).await?;
    }
    build(&channel, partitions).await?;
    unlock(channel).await
}

/// Whether the ring's exchange exists; its bindings are not checked.
pub(crate) async fn exists(connection: &Connection) -> Result<bool, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let exists = lookup.has_exchange(PARTITIONS_EXCHANGE).await?;
    lookup.close().await?;
    Ok(exists)
}

/// Binds the partitions in order, each after the broker has confirmed the one before, so that the
/// next worker can continue an interrupted build.
async fn build(channel: &Channel, partitions: i32) -> Result<(), BrokerError> {
    declare(channel).await?;
    for partition in 0..partitions {
        let queue = partition_queue(partition);
        let bound = channel.queue_bind(
            queue.as_str().into(),
            PARTITIONS_EXCHANGE.into(),
            WEIGHT.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bounded(format!("binding queue {queue} to {PARTITIONS_EXCHANGE}"), bound).await?;
    }
    // Last: a ring with fewer partitions routes differently.
    let opened = channel.exchange_bind(
        PARTITIONS_EXCHANGE.into(),
        COMMANDS_EXCHANGE.into(),
        "#".into(),
        ExchangeBindOptions::default(),
        FieldTable::default(),
    );
    bounded(format!("binding exchange {PARTITIONS_EXCHANGE} to {COMMANDS_EXCHANGE}"), opened).await
}

async fn declare(channel: &Channel) -> Result<(), BrokerError> {
    let mut by_server = FieldTable::default();
    by_server.insert("hash-header".into(), AMQPValue::LongString("server".into()));
    // Not durable: see the module. Internal: commands arrive only through the commands' exchange.
    let options = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let declared = channel.exchange_declare(PARTITIONS_EXCHANGE.into(), kind, options, by_server);
    bounded(format!("declaring exchange {PARTITIONS_EXCHANGE}"), declared).await
}

/// Waits for the lock. Only the holder of the returned channel changes the ring.
async fn lock(connection: &Connection) -> Result<Channel, BrokerError> {
    let began = Instant::now();
    loop {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(LOCK.into(), options, FieldTable::default());
        match bounded(format!("declaring queue {LOCK}"), declared).await {
            Ok(_) => return Ok(channel),
            Err(error)
                if error.code() == Some(RESOURCE_LOCKED) && began.elapsed() < LOCK_TIMEOUT =>
            {
                sleep(LOCK_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn unlock(channel: Channel) -> Result<(), BrokerError> {
    let deleted = channel.queue_delete(LOCK.into(), QueueDeleteOptions::default());
    bounded(format!("deleting queue {LOCK}"), deleted).await?;
    bounded("closing the channel", channel.close(200, "done".into())).await
}
