//! Declares the topology and finds what is missing.

use lapin::Channel;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use uuid::Uuid;

use super::connection::Connection;
use super::installation;
use super::lookup::Lookup;
use super::topology::{self, Binding, Exchange, Queue, Target, Topology};
use super::{BrokerError, bounded};
use crate::message::shape::Shape;

/// Declares everything but the servers' bindings, on a vhost that [`installation::claim`] has claimed. It
/// may be repeated. Fails and names the thing if one
/// exists with other arguments.
pub async fn apply(connection: &Connection, shape: Shape) -> Result<(), BrokerError> {
    let topology = Topology::of(shape);
    let channel = connection.create_channel().await?;
    for exchange in &topology.exchanges {
        declare_exchange(&channel, exchange).await?;
    }
    for queue in &topology.queues {
        declare_queue(&channel, queue).await?;
    }
    for binding in &topology.bindings {
        bind(&channel, binding).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await
}

/// Names missing durable things. AMQP cannot read arguments; [`apply`] compares them.
pub async fn missing(
    connection: &Connection,
    installation: Uuid,
    shape: Shape,
) -> Result<Vec<String>, BrokerError> {
    let (exchanges, queues) = topology::names(shape);
    let exchanges = installation::names(installation).into_iter().chain(exchanges);
    let mut lookup = Lookup::open(connection).await?;
    let mut missing = Vec::new();
    for name in exchanges {
        if !lookup.has_exchange(&name).await? {
            missing.push(format!("exchange {name}"));
        }
    }
    for name in queues {
        if lookup.queue(&name).await?.is_none() {
            missing.push(format!("queue {name}"));
        }
    }
    lookup.close().await?;
    Ok(missing)
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), BrokerError> {
    let Exchange { name, kind, arguments } = exchange;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared =
        channel.exchange_declare(name.as_str().into(), kind.clone(), options, arguments.clone());
    bounded(format!("declaring exchange {name}"), declared).await
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<(), BrokerError> {
    let Queue { name, arguments } = queue;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(name.as_str().into(), options, arguments.clone());
    bounded(format!("declaring queue {name}"), declared).await?;
    Ok(())
}

async fn bind(channel: &Channel, binding: &Binding) -> Result<(), BrokerError> {
    let source = binding.source.as_str().into();
    let pattern = binding.pattern.as_str().into();
    let none = FieldTable::default();
    match &binding.target {
        Target::Queue(queue) => {
            let options = QueueBindOptions::default();
            let work = channel.queue_bind(queue.as_str().into(), source, pattern, options, none);
            bounded(format!("binding queue {queue} to {}", binding.source), work).await
        }
        Target::Exchange(exchange) => {
            let options = ExchangeBindOptions::default();
            let work =
                channel.exchange_bind(exchange.as_str().into(), source, pattern, options, none);
            bounded(format!("binding exchange {exchange} to {}", binding.source), work).await
        }
    }
}
