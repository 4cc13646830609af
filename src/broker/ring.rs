//! The way from the commands' exchange to the partitions: a hash ring, which a server's id picks a
//! place on.
//!
//! What a place means is the order in which the partitions were bound to the ring, and the broker
//! does not keep it. After a restart it binds durable bindings again in the order of their names,
//! several at a time: `10` comes before `2`, and now and then one is overtaken by others (measured on
//! 3.10). A server's commands would come through another partition than its deadlines, and nobody
//! could say any more which was first.
//!
//! So the ring is not durable. A restart of the broker takes it away, and with it the way to the
//! partitions: commands are unroutable, which their sender is told instead of a publisher confirm.
//! The first worker that is back, or `topology apply`, makes it again, in order, and opens the way
//! last. Publisher confirms keep their meaning, and the partitions keep what is in them.

use std::time::Duration;

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::topology::{COMMANDS_EXCHANGE, partition_queue};
use super::{BrokerError, bounded, removal};

/// Spreads commands over the partitions by the header `server`.
pub const PARTITIONS_EXCHANGE: &str = "reservation.partitions.v2";

/// The durable ring of former versions. Beside the other, commands would come twice.
const RETIRED: &str = "reservation.partitions.v1";

/// Exclusive: who has declared it works on the ring, and nobody else does. The broker drops it with
/// the connection, so that a holder that is frozen or cut off can do no more harm than wait for.
const LOCK: &str = "reservation.partitions.v2.lock";

/// Time between two tries to get the lock, which is held for some milliseconds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How long to try: a holder that stopped answering is cut off after two heartbeats of ten seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// AMQP's code for what somebody else has declared exclusively.
const RESOURCE_LOCKED: u16 = 405;

/// Every partition weighs the same. At this kind of exchange a binding's key is its weight.
const WEIGHT: &str = "1";

/// Adds what the ring lacks, all of it after a restart of the broker; what is there stays as it is.
pub async fn complete(connection: &Connection, partitions: i32) -> Result<(), BrokerError> {
    let channel = lock(connection).await?;
    make(&channel, partitions).await?;
    unlock(channel).await
}

/// Makes the ring anew, whatever it was like. Commands are unroutable meanwhile.
pub async fn rebuild(connection: &Connection, partitions: i32) -> Result<(), BrokerError> {
    let channel = lock(connection).await?;
    // What is not there is deleted without complaint.
    for name in [RETIRED, PARTITIONS_EXCHANGE] {
        let deleted = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
        bounded(format!("deleting exchange {name}"), deleted).await?;
    }
    make(&channel, partitions).await?;
    unlock(channel).await
}

/// Whether there is a ring. It says nothing about what is bound to it.
pub async fn exists(connection: &Connection) -> Result<bool, BrokerError> {
    removal::has_exchange(connection, PARTITIONS_EXCHANGE).await
}

/// In order, each after the broker has said that the one before is done: whoever breaks off leaves
/// behind what the next one continues.
async fn make(channel: &Channel, partitions: i32) -> Result<(), BrokerError> {
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
    // Only now: a ring with fewer places routes otherwise.
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
    // Not durable, see above. Internal: nobody publishes to it past the commands' exchange.
    let options = ExchangeDeclareOptions { internal: true, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let declared = channel.exchange_declare(PARTITIONS_EXCHANGE.into(), kind, options, by_server);
    bounded(format!("declaring exchange {PARTITIONS_EXCHANGE}"), declared).await
}

/// Waits for the lock. What is done on the channel that comes back is done by nobody else.
async fn lock(connection: &Connection) -> Result<Channel, BrokerError> {
    let began = Instant::now();
    loop {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(LOCK.into(), options, FieldTable::default());
        match bounded(format!("declaring queue {LOCK}"), declared).await {
            Ok(_) => return Ok(channel),
            Err(error) if is_locked(&error) && began.elapsed() < LOCK_PATIENCE => {
                sleep(LOCK_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_locked(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Amqp { source, .. }
        if matches!(source.kind(), ErrorKind::ProtocolError(refusal)
            if refusal.get_id() == RESOURCE_LOCKED))
}

async fn unlock(channel: Channel) -> Result<(), BrokerError> {
    let deleted = channel.queue_delete(LOCK.into(), QueueDeleteOptions::default());
    bounded(format!("deleting queue {LOCK}"), deleted).await?;
    bounded("closing the channel", channel.close(200, "done".into())).await
}
