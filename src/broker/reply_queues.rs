//! The terminals' queues of answers and notices.
//!
//! [`accounts`](super::accounts) declares them over the management API, with the terminals'
//! accounts. [`restore`] declares them over AMQP after the topology was removed.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};

use super::connection::Connection;
use super::lookup::Lookup;
use super::topology::{REPLIES_EXCHANGE, REPLY_LEN_MAX, reply_queue};
use super::{BrokerError, bounded};

/// In milliseconds: a week.
const REPLY_TTL_MS: i64 = 7 * 24 * 3_600 * 1_000;

enum Argument {
    Text(&'static str),
    Number(i64),
}

/// Equal for both protocols, or the broker refuses to redeclare.
const ARGUMENTS: [(&str, Argument); 4] = [
    // Classic: about half a quorum queue's memory. A terminal can ask for a lost answer again.
    ("x-queue-type", Argument::Text("classic")),
    ("x-max-length", Argument::Number(REPLY_LEN_MAX)),
    ("x-overflow", Argument::Text("drop-head")),
    ("x-message-ttl", Argument::Number(REPLY_TTL_MS)),
];

/// Arguments for the management API.
pub fn arguments_as_json() -> Value {
    let value = |argument| match argument {
        Argument::Text(text) => Value::from(text),
        Argument::Number(number) => Value::from(number),
    };
    let arguments: Map<String, Value> =
        ARGUMENTS.into_iter().map(|(name, argument)| (name.to_owned(), value(argument))).collect();
    Value::Object(arguments)
}

fn arguments_as_table() -> FieldTable {
    let mut table = FieldTable::default();
    for (name, argument) in ARGUMENTS {
        let value = match argument {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            Argument::Number(number) => AMQPValue::LongLongInt(number),
        };
        table.insert(name.into(), value);
    }
    table
}

/// Those of `terminals` that have no reply queue.
pub async fn missing(
    connection: &Connection,
    terminals: &[String],
) -> Result<Vec<String>, BrokerError> {
    let mut lookup = Lookup::open(connection).await?;
    let mut missing = Vec::new();
    for terminal in terminals {
        if lookup.queue(&reply_queue(terminal)).await?.is_none() {
            missing.push(terminal.clone());
        }
    }
    lookup.close().await?;
    Ok(missing)
}

/// Declares and binds the reply queues of `terminals`. Repeatable.
pub async fn restore(connection: &Connection, terminals: &[String]) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for terminal in terminals {
        let queue = reply_queue(terminal);
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.as_str().into(), options, arguments_as_table());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_declare_the_same_arguments() {
        let json = arguments_as_json();
        let json = json.as_object().expect("an object");
        let table = arguments_as_table();
        assert_eq!(json.len(), table.inner().len());
        for (name, value) in table.inner() {
            let value = match value {
                AMQPValue::LongString(text) => Value::from(text.to_string()),
                AMQPValue::LongLongInt(number) => Value::from(*number),
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(json.get(name.as_str()), Some(&value), "{name}");
        }
    }
}
