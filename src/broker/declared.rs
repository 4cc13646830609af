//! Compares what the broker has with what Holdfast declares: kinds, durability, arguments and bindings.
//!
//! What policies make of arguments is [`policies`](super::policies)' part.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};

use super::bindings;
use super::connection::Endpoint;
use super::inspect::{ExchangeState, QueueState};
use super::management::Address;
use super::topology::{Target, Topology};
use crate::message::shape::Shape;

/// Exchanges and queues that are there and were declared in another way, as sentences.
pub fn differences(
    shape: Shape,
    exchanges: &[ExchangeState],
    queues: &[QueueState],
) -> Vec<String> {
    let Topology { exchanges: of_exchanges, queues: of_queues, .. } = Topology::of(shape);
    let mut found = Vec::new();
    for wanted in of_exchanges {
        let Some(exchange) = exchanges.iter().find(|one| one.name == wanted.name) else { continue };
        let kind = kind(&wanted.kind);
        if exchange.kind != kind {
            found.push(format!("exchange {}: is {}, not {kind}", wanted.name, exchange.kind));
        }
        if !exchange.durable {
            found.push(format!("exchange {}: is not durable", wanted.name));
        }
    }
    for wanted in of_queues {
        let Some(queue) = queues.iter().find(|one| one.name == wanted.name) else { continue };
        if !queue.durable {
            found.push(format!("queue {}: is not durable", wanted.name));
        }
        let arguments = of_arguments(&as_json(&wanted.arguments), &queue.arguments);
        found.extend(arguments.into_iter().map(|text| format!("queue {}: {text}", wanted.name)));
    }
    found
}

fn of_arguments(wanted: &Map<String, Value>, found: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
    names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name))
        .map(|name| {
            format!("{name} is {}, not {}", shown(found.get(name)), shown(wanted.get(name)))
        })
        .collect()
}

/// Bindings of the topology that are missing, as texts. The servers' are [`routes`](super::routes)' part, the
/// terminals' [`bindings::unbound_replies`]'.
pub async fn missing_bindings(
    management: &Address,
    broker: &Endpoint,
    shape: Shape,
) -> Result<Vec<String>> {
    let mut wanted: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for binding in Topology::of(shape).bindings {
        let target = match binding.target {
            Target::Queue(name) => format!("queue {name}"),
            Target::Exchange(name) => format!("exchange {name}"),
        };
        wanted.entry(binding.source).or_default().push((target, binding.pattern));
    }
    let mut missing = Vec::new();
    for (source, bindings) in wanted {
        let found = bindings::of(management, broker, &source).await?;
        let lost = bindings.into_iter().filter(|wanted| !found.contains(wanted));
        missing.extend(lost.map(|(target, pattern)| match pattern.as_str() {
            "" => format!("{target} to exchange {source}"),
            _ => format!("{target} to exchange {source} with {pattern}"),
        }));
    }
    Ok(missing)
}

fn kind(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Topic => "topic",
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Custom(name) => name,
    }
}

/// Arguments as the management API shows them.
pub(super) fn as_json(arguments: &FieldTable) -> Map<String, Value> {
    let value = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Boolean(truth) => Value::from(*truth),
        _ => Value::Null,
    };
    arguments.inner().iter().map(|(key, argument)| (key.to_string(), value(argument))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_different_argument_is_named() {
        let shape = Shape { partitions: 1, delay_levels: 1 };
        let queue = |more: Value| {
            let arguments = as_json(&Topology::of(shape).queues[0].arguments);
            let mut arguments = Value::Object(arguments);
            for (name, value) in more.as_object().expect("arguments") {
                arguments[name] = value.clone();
            }
            let name = Topology::of(shape).queues[0].name.clone();
            let state = json!({ "name": name, "durable": true, "arguments": arguments });
            serde_json::from_value::<QueueState>(state).expect("a queue")
        };
        assert_eq!(differences(shape, &[], &[queue(json!({}))]), Vec::<String>::new());
        let found =
            differences(shape, &[], &[queue(json!({ "x-max-length": 7, "x-queu-mode": 1 }))]);
        let name = "queue reservation.commands.v2.0";
        assert_eq!(
            found,
            [
                format!("{name}: x-max-length is 7, not 1000000"),
                format!("{name}: x-queu-mode is 1, not none"),
            ]
        );
    }
}
