//! The way to the partitions: whatever becomes of it, a server's commands come through the same one.
//!
//! The engine is shared, so nothing restarts it here. What a restart does is done by hand: the ring,
//! which is not durable, is gone, or durable bindings come back in another order.

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

/// Of six a wrong order is not right by chance, and ten and more sort otherwise than they count.
const PARTITIONS: i32 = 12;
/// Enough for every partition to be somebody's.
const SERVERS: usize = 150;

fn commands() -> Vec<Command> {
    let (start, end) = window(86_400, 60);
    (0..SERVERS).map(|n| Command::request(new_id(), &format!("s{n}"), start, end)).collect()
}

/// Sends a command per server; which partition it came to. For a time when no worker runs.
async fn routes(stack: &Stack, terminal: &mut Terminal) -> BTreeMap<String, i32> {
    let fates = terminal.client.send_all(&commands()).await.expect("sent");
    assert_eq!(fates, [Fate::Routed; SERVERS]);
    let mut routes = BTreeMap::new();
    for partition in 0..stack.shape.partitions {
        for delivery in take_all(stack, &partition_queue(partition)).await {
            let server = received(delivery).server.expect("a header").expect("a text");
            assert_eq!(routes.insert(server, partition), None, "it comes once");
        }
    }
    assert_eq!(routes.len(), SERVERS);
    routes
}

/// Takes what is in a partition, which is only for consumers.
async fn take_all(stack: &Stack, queue: &str) -> Vec<Delivery> {
    let count = stack.depth(queue).await.0 as usize;
    assert!(count > 0, "nobody's is {queue}");
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

/// What a restart of the broker does to it.
async fn take_away(stack: &Stack) {
    let name = PARTITIONS_EXCHANGE.into();
    let deleted = open(stack).await.exchange_delete(name, ExchangeDeleteOptions::default()).await;
    deleted.expect("deleted");
}

/// Binds a partition, which may be bound already, as the last one.
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
async fn a_worker_makes_the_ring_again_as_it_was() {
    let mut stack = Stack::with_partitions(PARTITIONS).await;
    let mut terminal = stack.terminal("ann").await;
    let before = routes(&stack, &mut terminal).await;
    for bound in [0, 5] {
        take_away(&stack).await;
        if bound > 0 {
            // Somebody began, and broke off.
            ring::complete(&stack.amqp, bound).await.expect("begun");
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
        facts::until("the way is open", async || {
            terminal.client.send_all(&probe).await.expect("sent") == [Fate::Routed]
        })
        .await;
        terminal.reply_to(&probe[0].message_id).await;
        assert!(worker.stop().await.success());
        assert_eq!(routes(&stack, &mut terminal).await, before, "{bound} were bound");
    }
    stack.finish().await;
}

/// The broker must not bring it back by itself: it would do so in an order of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_ring_does_not_outlive_the_broker() {
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
    let refusal = declared.expect_err("it is there, and otherwise");
    assert_eq!(code_of(&refusal), 406, "{refusal}");
    assert!(refusal.to_string().contains("'durable'"), "{refusal}");
    stack.finish().await;
}

/// A partition's queue that was deleted and came back, with workers who are just connecting.
#[tokio::test(flavor = "multi_thread")]
async fn applying_puts_a_wrong_ring_right() {
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
            // While the queue is not back.
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

/// What came through the wrong partition is not decided there, and not refused for good.
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
