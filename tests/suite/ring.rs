//! The ring routes a server's commands to the same partition, whatever happens to the ring.
//!
//! Tests share the broker, so none restarts it. They imitate the effect of a restart instead: they
//! delete the ring, which is not durable, or bind its partitions in another order.

use std::collections::BTreeMap;

use holdfast::broker::consumer::{QueueConsumer, received};
use holdfast::broker::publisher::Fate;
use holdfast::broker::ring::{self, PARTITIONS_EXCHANGE};
use holdfast::broker::topology::{COMMANDS_EXCHANGE, partition_queue};
use holdfast::broker::{BrokerError, declare};
use holdfast::client::Command;
use holdfast::message::answer::Answer;
use lapin::message::Delivery;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use crate::input::message::code_of;
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id, window};

/// Enough that a wrong order is not right by chance, and that names sort differently from numbers.
const PARTITIONS: i32 = 12;
/// Enough that every partition gets some server's commands.
const SERVERS: usize = 150;

fn commands() -> Vec<Command> {
    let (start, end) = window(86_400, 60);
    (0..SERVERS).map(|n| Command::request(new_id(), &format!("s{n}"), start, end)).collect()
}

/// Sends a command for each server and returns the partitions in which they arrived. No worker may
/// run meanwhile.
async fn routes(stack: &Stack, terminal: &mut Terminal) -> BTreeMap<String, i32> {
    let fates = terminal.client.send_all(&commands()).await.expect("sent");
    assert_eq!(fates, [Fate::Routed; SERVERS]);
    let mut routes = BTreeMap::new();
    for partition in 0..stack.shape.partitions {
        for delivery in take_all(stack, &partition_queue(partition)).await {
            let server = received(delivery).server.expect("a header").expect("a text");
            assert_eq!(routes.insert(server, partition), None, "it arrives once");
        }
    }
    assert_eq!(routes.len(), SERVERS);
    routes
}

/// Consumes everything in a partition: `basic.get` is refused on a queue with a single active
/// consumer.
async fn take_all(stack: &Stack, queue: &str) -> Vec<Delivery> {
    let count = stack.depth(queue).await.0 as usize;
    assert!(count > 0, "no server's commands arrive in {queue}");
    let mut consumer = QueueConsumer::open(&stack.amqp, queue, 512).await.expect("a consumer");
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(consumer.collect(count).await.expect("deliveries"));
    }
    let last = taken.last().expect("some").delivery_tag;
    consumer.acknowledger().ack_through(last).await.expect("acknowledged");
    consumer.close().await.expect("closed");
    taken
}

async fn open(stack: &Stack) -> Channel {
    stack.amqp.create_channel().await.expect("a channel")
}

/// Deletes the ring, as a restart of the broker does.
async fn delete_ring(stack: &Stack) {
    let name = PARTITIONS_EXCHANGE.into();
    let deleted = open(stack).await.exchange_delete(name, ExchangeDeleteOptions::default()).await;
    deleted.expect("deleted");
}

/// Binds a partition again, so that it becomes the last one.
async fn bind_last(stack: &Stack, partition: i32) {
    let (channel, queue) = (open(stack).await, partition_queue(partition));
    let (queue, exchange) = (queue.as_str(), PARTITIONS_EXCHANGE);
    let none = FieldTable::default;
    let unbound = channel.queue_unbind(queue.into(), exchange.into(), "1".into(), none()).await;
    unbound.expect("unbound");
    let options = Default::default();
    let bound =
        channel.queue_bind(queue.into(), exchange.into(), "1".into(), options, none()).await;
    bound.expect("bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_rebuilds_the_ring_as_it_was() {
    let mut stack = Stack::with_partitions(PARTITIONS).await;
    let mut terminal = stack.terminal("ann").await;
    let before = routes(&stack, &mut terminal).await;
    for bound in [0, 5] {
        delete_ring(&stack).await;
        if bound > 0 {
            // Another worker's build was interrupted.
            ring::complete(&stack.amqp, bound).await.expect("bound");
            let channel = open(&stack).await;
            let (ring, commands) = (PARTITIONS_EXCHANGE.into(), COMMANDS_EXCHANGE.into());
            let options = Default::default();
            let closed =
                channel.exchange_unbind(ring, commands, "#".into(), options, Default::default());
            closed.await.expect("closed");
        }
        let returned = terminal.client.send_all(&commands()).await.expect("sent");
        assert_eq!(returned, [Fate::Unroutable; SERVERS], "nothing is confirmed meanwhile");
        let mut worker = stack.worker();
        let probe = [commands().swap_remove(0)];
        facts::until("commands are routed again", async || {
            terminal.client.send_all(&probe).await.expect("sent") == [Fate::Routed]
        })
        .await;
        terminal.reply_to(&probe[0].message_id).await;
        assert!(worker.stop().await.success());
        assert_eq!(routes(&stack, &mut terminal).await, before, "{bound} were bound");
    }
    stack.finish().await;
}

/// The broker must not restore the ring by itself: it would do so in an order of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_ring_does_not_survive_the_broker() {
    let stack = Stack::new().await;
    let channel = open(&stack).await;
    let options = ExchangeDeclareOptions {
        durable: true,
        internal: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Custom("x-consistent-hash".to_owned());
    let mut by_server = FieldTable::default();
    by_server.insert("hash-header".into(), AMQPValue::LongString("server".into()));
    let name = PARTITIONS_EXCHANGE.into();
    let declared = channel.exchange_declare(name, kind, options, by_server).await;
    let refusal = declared.expect_err("it exists with other options");
    assert_eq!(code_of(&refusal), 406, "{refusal}");
    assert!(refusal.to_string().contains("'durable'"), "{refusal}");
    stack.finish().await;
}

/// A partition's queue is deleted and declared again while workers connect.
#[tokio::test(flavor = "multi_thread")]
async fn applying_the_topology_corrects_the_ring() {
    let mut stack = Stack::with_partitions(PARTITIONS).await;
    let mut terminal = stack.terminal("ann").await;
    let before = routes(&stack, &mut terminal).await;
    let queue = partition_queue(2);
    for round in 0..8 {
        let channel = open(&stack).await;
        let deleted = channel.queue_delete(queue.as_str().into(), Default::default());
        deleted.await.expect("deleted");
        let complete = async || {
            let outcome = ring::complete(&stack.amqp, PARTITIONS).await;
            // It fails while the queue does not exist.
            let fine = matches!(&outcome, Ok(()) | Err(BrokerError::Amqp { .. }));
            assert!(fine, "{outcome:?}");
        };
        let apply = declare::apply(&stack.amqp, stack.shape);
        let (applied, ..) = tokio::join!(apply, complete(), complete(), complete());
        applied.expect("applied");
        assert_eq!(routes(&stack, &mut terminal).await, before, "round {round}");
    }
    stack.finish().await;
}

/// A command in the wrong partition is refused there without a decision, and may be sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_misrouted_command_can_be_sent_again() {
    let mut stack = Stack::with_partitions(2).await;
    let server = stack.server("cam", &[("capacity", &2i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let held = terminal.accepted(&server, window(86_400, 60)).await.id;
    bind_last(&stack, 0).await;
    let (start, end) = window(86_400, 60);
    for command in [
        Command::request(new_id(), server.as_str(), start, end),
        Command::reconfirm(new_id(), server.as_str(), held),
    ] {
        let refused = terminal.ask(&command).await;
        assert_eq!(code(&refused), Some("misrouted"), "{refused:?}");
        let Answer::Refused { retry, retry_after_ms, .. } = refused else { unreachable!() };
        assert_eq!((retry.as_str(), retry_after_ms.is_some()), ("same_id", true));
        declare::apply(&stack.amqp, stack.shape).await.expect("applied");
        terminal.client.send(&command).await.expect("sent");
        let answer = terminal.nth_reply_to(&command.message_id, 2).await.answer().expect("read");
        assert_eq!(code(&answer), None, "{answer:?}");
        bind_last(&stack, 0).await;
    }
    stack.finish().await;
}
