//! Temporary queues, to observe messages without consuming those of others.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::connection::Connection;
use super::{BrokerError, bounded};

/// For slow observers. The queue drops the oldest.
const LEN_MAX: i64 = 100_000;

/// Declares an exclusive queue, binds it to `exchange` with each pattern, and returns its generated
/// name. Consume it on this connection; it is deleted with its consumer.
pub async fn declare(
    connection: &Connection,
    exchange: &str,
    patterns: &[&str],
) -> Result<String, BrokerError> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LEN_MAX));
    let declared = channel.queue_declare("".into(), options, arguments);
    let queue = bounded("declaring a temporary queue", declared).await?.name().clone();
    for pattern in patterns {
        let bound = channel.queue_bind(
            queue.clone(),
            exchange.into(),
            (*pattern).into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bounded(format!("binding a temporary queue to {exchange}"), bound).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await?;
    Ok(queue.as_str().to_owned())
}
