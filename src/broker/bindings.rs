//! Reads bindings over the management API: AMQP cannot list them.

use std::collections::HashSet;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::connection::Endpoint;
use super::delay::{DUE_EXCHANGE, level_name};
use super::management::{Address, Management};
use super::routes::{Route, server_of};
use super::topology::{
    BILLING_EXCHANGE, BILLING_QUEUE, COMMANDS_EXCHANGE, EVENTS_EXCHANGE, REPLIES_EXCHANGE, Target,
    Topology, partition_of, reply_queue,
};
use crate::message::shape::Shape;

/// Prefix of names that the broker generates, such as of a running delay probe's queue.
const GENERATED: &str = "amq.gen-";

#[derive(Debug, Deserialize)]
struct Binding {
    destination: String,
    destination_type: String,
    routing_key: String,
}

/// The servers' bindings as they are, in no order. Bindings of other queues and patterns are left out.
pub async fn found(management: &Address, broker: &Endpoint) -> Result<Vec<Route>> {
    let management = Management::new(management, (broker.account(), broker.password()))?;
    let bindings = of_exchange(&management, broker, COMMANDS_EXCHANGE).await?;
    Ok(bindings.iter().filter_map(route).collect())
}

/// Bindings of others to exchanges that lead to our queues alone, as texts. A message that such a queue
/// refuses counts as refused, though ours took it.
///
/// Replies and dead letters are not looked at: a refused one is published three times at most.
pub async fn foreign(management: &Address, broker: &Endpoint, shape: Shape) -> Result<Vec<String>> {
    let management = Management::new(management, (broker.account(), broker.password()))?;
    let ours: HashSet<(String, String)> = Topology::of(shape)
        .bindings
        .into_iter()
        .map(|binding| match binding.target {
            Target::Queue(name) | Target::Exchange(name) => (binding.source, name),
        })
        .collect();
    let levels = (0..shape.delay_levels).map(level_name);
    let private = levels.chain([DUE_EXCHANGE, BILLING_EXCHANGE].map(str::to_owned));
    let mut foreign = Vec::new();
    for exchange in private.chain([EVENTS_EXCHANGE.to_owned()]) {
        for binding in of_exchange(&management, broker, &exchange).await? {
            let Binding { destination, destination_type, .. } = binding;
            let is_foreign = match exchange == EVENTS_EXCHANGE {
                // Anybody's, but then bills would come twice.
                true => destination == BILLING_QUEUE,
                false => {
                    !ours.contains(&(exchange.clone(), destination.clone()))
                        && !destination.starts_with(GENERATED)
                }
            };
            if is_foreign {
                foreign.push(format!("{destination_type} {destination}, bound to {exchange}"));
            }
        }
    }
    Ok(foreign)
}

/// What is bound to an exchange, as `queue NAME` or `exchange NAME`, and with which pattern. Empty if there is no
/// such exchange.
pub(super) async fn of(
    management: &Address,
    broker: &Endpoint,
    exchange: &str,
) -> Result<HashSet<(String, String)>> {
    let management = Management::new(management, (broker.account(), broker.password()))?;
    let path = ["exchanges", broker.vhost(), exchange, "bindings", "source"];
    let found = match management.read::<Vec<Binding>>(&path).await {
        Err(error) if error.is_not_found() => Vec::new(),
        found => found.with_context(|| format!("listing bindings of {exchange}"))?,
    };
    let named = |binding: Binding| {
        let Binding { destination, destination_type, routing_key } = binding;
        (format!("{destination_type} {destination}"), routing_key)
    };
    Ok(found.into_iter().map(named).collect())
}

/// Those of these terminals whose reply queue is not bound.
pub async fn unbound_replies(
    management: &Address,
    broker: &Endpoint,
    terminals: &[String],
) -> Result<Vec<String>> {
    let management = Management::new(management, (broker.account(), broker.password()))?;
    let bindings = of_exchange(&management, broker, REPLIES_EXCHANGE).await?;
    let bound: HashSet<(String, String)> =
        bindings.into_iter().map(|binding| (binding.routing_key, binding.destination)).collect();
    let unbound =
        terminals.iter().filter(|id| !bound.contains(&((*id).clone(), reply_queue(id)))).cloned();
    Ok(unbound.collect())
}

async fn of_exchange(
    management: &Management,
    broker: &Endpoint,
    exchange: &str,
) -> Result<Vec<Binding>> {
    let path = ["exchanges", broker.vhost(), exchange, "bindings", "source"];
    management.read(&path).await.with_context(|| format!("listing bindings of {exchange}"))
}

fn route(binding: &Binding) -> Option<Route> {
    if binding.destination_type != "queue" {
        return None;
    }
    let server = server_of(&binding.routing_key)?.to_owned();
    Some(Route { server, partition: partition_of(&binding.destination)? })
}
