//! How commands reach their server's partition: one durable binding for each server.
//!
//! A command's routing key is `<terminal>.<command>.<server>`, and the server's binding leads it to the
//! queue of the partition that the database names. Nothing is computed, so nothing changes with the
//! broker's version, a restart or the number of partitions.
//!
//! See `docs/decisions/0020-one-binding-per-server.md`.

use std::collections::BTreeSet;

use lapin::Channel;
use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;

use super::connection::Connection;
use super::publisher::{Fate, Outgoing, Publisher};
use super::topology::{COMMANDS_EXCHANGE, partition_queue};
use super::{BrokerError, bounded};
use crate::message::envelope::PROBE_TYPE;

/// Bindings that are requested before the broker's confirmation is awaited. The broker works them off
/// one by one, 3 ms each (RabbitMQ 3.10).
const BINDINGS_AT_ONCE: usize = 500;

/// The way of a server's commands into a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The server's id.
    pub server: String,
    /// Its partition.
    pub partition: i32,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "server {} to queue {}", self.server, partition_queue(self.partition))
    }
}

/// The binding pattern of a server's commands.
pub(super) fn pattern(server: &str) -> String {
    format!("*.*.{server}")
}

/// The server of a binding pattern; `None` if it is not a server's.
pub(super) fn server_of(pattern: &str) -> Option<&str> {
    pattern.strip_prefix("*.*.").filter(|server| !server.contains('.'))
}

/// Binds all of these. Binding again what is bound changes nothing.
pub async fn bind(connection: &Connection, routes: &[Route]) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for part in routes.chunks(BINDINGS_AT_ONCE) {
        let Some((last, others)) = part.split_last() else { continue };
        for route in others {
            bind_one(&channel, route, true).await?;
        }
        bind_one(&channel, last, false).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}

/// The broker reports a failed binding without a confirmation by closing the channel, which fails the
/// confirmed one behind it.
async fn bind_one(channel: &Channel, route: &Route, nowait: bool) -> Result<(), BrokerError> {
    let queue = partition_queue(route.partition);
    let bound = channel.queue_bind(
        queue.as_str().into(),
        COMMANDS_EXCHANGE.into(),
        pattern(&route.server).as_str().into(),
        QueueBindOptions { nowait },
        FieldTable::default(),
    );
    bounded(format!("binding {route}"), bound).await
}

/// Removes these bindings. Removing what is not there is no error, unless its queue is gone.
pub async fn unbind(connection: &Connection, routes: &[Route]) -> Result<(), BrokerError> {
    let channel = connection.create_channel().await?;
    for route in routes {
        let queue = partition_queue(route.partition);
        let unbound = channel.queue_unbind(
            queue.as_str().into(),
            COMMANDS_EXCHANGE.into(),
            pattern(&route.server).as_str().into(),
            FieldTable::default(),
        );
        bounded(format!("unbinding {route}"), unbound).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}

/// What must change for the broker to route as the database says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// To bind.
    pub missing: Vec<Route>,
    /// To unbind.
    pub surplus: Vec<Route>,
}

impl Difference {
    /// Compares what should be bound with what is.
    pub fn between(wanted: &[Route], found: &[Route]) -> Self {
        let (wanted, found): (BTreeSet<_>, BTreeSet<_>) =
            (wanted.iter().collect(), found.iter().collect());
        Self {
            missing: wanted.difference(&found).map(|route| (*route).clone()).collect(),
            surplus: found.difference(&wanted).map(|route| (*route).clone()).collect(),
        }
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

/// Sends a probe to each server and returns those that it does not reach, in the given order. Workers
/// take probes from the queues and do nothing about them. Which queue a probe reaches is not told.
pub async fn unreachable(
    connection: &Connection,
    servers: &[String],
) -> Result<Vec<String>, BrokerError> {
    let mut publisher = Publisher::open(connection).await?;
    let mut unreachable = Vec::new();
    for part in servers.chunks(BINDINGS_AT_ONCE) {
        let probes: Vec<Outgoing> = part.iter().map(|server| probe(server)).collect();
        let fates = publisher.publish(&probes).await?;
        let lost = part.iter().zip(fates).filter(|(_, fate)| *fate == Fate::Unroutable);
        unreachable.extend(lost.map(|(server, _)| server.clone()));
    }
    publisher.close().await?;
    Ok(unreachable)
}

fn probe(server: &str) -> Outgoing {
    Outgoing {
        exchange: COMMANDS_EXCHANGE.to_owned(),
        routing_key: format!("holdfast.{PROBE_TYPE}.{server}"),
        message_id: server.to_owned(),
        type_name: PROBE_TYPE.to_owned(),
        correlation_id: None,
        content_type: "application/octet-stream",
        user_id: None,
        headers: Vec::new(),
        body: Vec::new(),
        persistent: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(server: &str, partition: i32) -> Route {
        Route { server: server.to_owned(), partition }
    }

    #[test]
    fn only_differences_are_to_be_done() {
        let wanted = [route("a", 0), route("b", 1), route("c", 0)];
        let found = [route("a", 0), route("b", 0), route("gone", 1)];
        let difference = Difference::between(&wanted, &found);
        assert_eq!(difference.missing, [route("b", 1), route("c", 0)]);
        assert_eq!(difference.surplus, [route("b", 0), route("gone", 1)]);
        assert!(Difference::between(&wanted, &wanted).is_empty());
    }

    #[test]
    fn a_pattern_names_its_server() {
        assert_eq!(server_of(&pattern("gpu-1")), Some("gpu-1"));
        for other in ["*.show", "#", "*.*.a.b", "alice.*.gpu-1"] {
            assert_eq!(server_of(other), None, "{other}");
        }
    }
}
