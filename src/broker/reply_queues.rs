//! The terminals' queues of answers, over AMQP.
//!
//! [`super::accounts`] makes each with its account. What is here brings them back, exactly as they
//! were, where the topology was removed.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::connection::Connection;
use super::topology::{REPLIES_EXCHANGE, REPLY_LEN_MAX, REPLY_TTL_MS, reply_queue};
use super::{BrokerError, bounded};

/// Declares and binds the reply queues of `terminals`. Doing so again is harmless.
pub async fn restore(connection: &Connection, terminals: &[String]) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for terminal in terminals {
        let queue = reply_queue(terminal);
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.as_str().into(), options, arguments());
        bounded(format!("declaring queue {queue}"), declared).await?;
        let bound = channel.queue_bind(
            queue.as_str().into(),
            REPLIES_EXCHANGE.into(),
            terminal.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bounded(format!("binding queue {queue}"), bound).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}

fn arguments() -> FieldTable {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("classic"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(REPLY_LEN_MAX));
    arguments.insert("x-overflow".into(), text("drop-head"));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(REPLY_TTL_MS));
    arguments
}
