//! Reads the servers' bindings over the management API: AMQP cannot list them.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::connection::Endpoint;
use super::management::{Address, Management};
use super::routes::{Route, server_of};
use super::topology::{COMMANDS_EXCHANGE, partition_of};

#[derive(Debug, Deserialize)]
struct Binding {
    destination: String,
    destination_type: String,
    routing_key: String,
}

/// The servers' bindings as they are, in no order. Bindings of other queues and patterns are left out.
pub async fn found(management: &Address, broker: &Endpoint) -> Result<Vec<Route>> {
    let management = Management::new(management, (broker.account(), broker.password()))?;
    let path = ["exchanges", broker.vhost(), COMMANDS_EXCHANGE, "bindings", "source"];
    let bindings: Vec<Binding> = management.read(&path).await.context("listing bindings")?;
    Ok(bindings.iter().filter_map(route).collect())
}

fn route(binding: &Binding) -> Option<Route> {
    if binding.destination_type != "queue" {
        return None;
    }
    let server = server_of(&binding.routing_key)?.to_owned();
    Some(Route { server, partition: partition_of(&binding.destination)? })
}
