//! The hash ring that routes commands to partitions by their header `server`.
//!
//! Places on the ring depend on the order of binding, which a durable ring loses: a restarting
//! broker binds by name (`10` before `2`) and concurrently (RabbitMQ 3.10). A server's commands
//! would reach another partition than its wake-ups, and the order between them would be lost.
//!
//! So the ring is transient. A broker restart deletes it, and commands are unroutable until the
//! first worker, or `topology apply`, rebuilds it in order and binds it to the commands' exchange
//! last. The partitions are durable and keep their messages.
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

/// Spreads commands over partitions.
pub const PARTITIONS_EXCHANGE: &str = "reservation.partitions.v2";

/// The durable ring of earlier versions. With both, each command would arrive twice.
const RETIRED: &str = "reservation.partitions.v1";

/// An exclusive queue as a lock for changing the ring. The broker deletes it with the connection,
/// so a frozen holder blocks others only until its connection times out.
const LOCK: &str = "reservation.partitions.v2.lock";

/// The lock is held for some milliseconds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The broker closes a silent connection after two heartbeats of ten seconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// AMQP's code for another connection's exclusive queue.
const RESOURCE_LOCKED: u16 = 405;

/// Binding keys are weights; all partitions weigh the same.
const WEIGHT: &str = "1";

/// Adds what the ring lacks: all of it after a broker restart.
pub async fn complete(connection: &Connection, partitions: i32) -> Result<(), BrokerError> {
    let channel = lock(connection).await?;
    build(&channel, partitions).await?;
    unlock(channel).await
}

/// Deletes and rebuilds the ring. Commands are unroutable meanwhile.
pub(super) async fn rebuild(connection: &Connection, partitions: i32) -> Result<(), BrokerError> {
    let channel = lock(connection).await?;
    // Deleting what is missing is no error.
    for name in [RETIRED, PARTITIONS_EXCHANGE] {
        let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
        bounded(format!("deleting exchange {name}"), deleted).await?;
    }
    build(&channel, partitions).await?;
    unlock(channel).await
}

/// Whether the ring's exchange exists; ignores bindings.
pub(crate) async fn exists(connection: &Connection) -> Result<bool, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let exists = lookup.has_exchange(PARTITIONS_EXCHANGE).await?;
    lookup.close().await?;
    Ok(exists)
}

/// Binds in order and awaits each confirmation, so that another worker can continue an interrupted
/// build.
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
    // Last: an incomplete ring routes differently.
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
    // Transient: see the module. Internal: no commands but from the commands' exchange.
    let options = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let declared = channel.exchange_declare(PARTITIONS_EXCHANGE.into(), kind, options, by_server);
    bounded(format!("declaring exchange {PARTITIONS_EXCHANGE}"), declared).await
}

/// Waits for the lock; the returned channel holds it.
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
