//! What the broker itself refuses a terminal, before any worker sees it.

use holdfast::broker::BrokerError;
use holdfast::broker::accounts::{TERMINAL_CHANNELS_MAX, TERMINAL_CONNECTIONS_MAX};
use holdfast::broker::connection::Connection;
use holdfast::broker::delay;
use holdfast::broker::topology::{
    BILLING_QUEUE, COMMANDS_EXCHANGE, DEAD, EVENTS_EXCHANGE, QUERIES_QUEUE, REPLIES_EXCHANGE,
    partition_queue, reply_queue,
};
use lapin::Channel;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;

use super::message::{Message, code_of};
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::window;

const ACCESS_REFUSED: u16 = 403;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

fn publications(terminal: &str, bystander: &str) -> Vec<(String, Message, u16)> {
    let good = || Message::request(terminal);
    let mut cases = vec![
        (
            "another account's name".to_owned(),
            good().with(|m| m.user_id = Some(bystander.to_owned())),
            PRECONDITION_FAILED,
        ),
        ("another's name and key".to_owned(), Message::request(bystander), ACCESS_REFUSED),
        (
            "an expiration that is no number".to_owned(),
            good().with(|m| m.expiration = Some("soon".to_owned())),
            PRECONDITION_FAILED,
        ),
        (
            "an answer to a consumer that is not there".to_owned(),
            good().with(|m| m.reply_to = Some("amq.rabbitmq.reply-to".to_owned())),
            PRECONDITION_FAILED,
        ),
    ];
    for key in [
        format!("{bystander}.request.cam"),
        format!("{bystander}.list"),
        terminal.to_owned(),
        format!("{terminal}x.request.cam"),
        format!("x{terminal}.request.cam"),
        format!("{}.request.cam", terminal.to_uppercase()),
        "request".to_owned(),
        "request.cam".to_owned(),
        ".request.cam".to_owned(),
        "*.request.cam".to_owned(),
        String::new(),
        "#".to_owned(),
    ] {
        let message = good().with(|m| m.routing_key = key.clone());
        cases.push((format!("routing key {key:?}"), message, ACCESS_REFUSED));
    }
    let wake_up = |m: &mut Message| m.kind = Some("wake_up".to_owned());
    for (exchange, key) in [
        ("", partition_queue(0)),
        ("", QUERIES_QUEUE.to_owned()),
        ("", reply_queue(bystander)),
        ("", BILLING_QUEUE.to_owned()),
        (delay::DUE_EXCHANGE, "p0".to_owned()),
        (delay::DUE_EXCHANGE, format!("{terminal}.p0")),
        (delay::level_name(0).as_str(), "0.0.0.0.0.0.0.0.0.1.p0".to_owned()),
        (REPLIES_EXCHANGE, bystander.to_owned()),
        (REPLIES_EXCHANGE, terminal.to_owned()),
        (EVENTS_EXCHANGE, "reservation.confirmed.cam".to_owned()),
        (DEAD, String::new()),
        ("amq.topic", format!("{terminal}.request.cam")),
        ("reservation.commands.v0", format!("{terminal}.request.cam")),
        ("reservation.commands.v1", format!("{terminal}.request")),
        ("reservation.commands.v3", format!("{terminal}.request.cam")),
        ("reservation.partitions.v2", format!("{terminal}.request")),
    ] {
        let message = good().with(wake_up).with(|m| {
            exchange.clone_into(&mut m.exchange);
            m.routing_key.clone_from(&key);
        });
        cases.push((format!("exchange {exchange:?} key {key:?}"), message, ACCESS_REFUSED));
    }
    cases
}

/// Tries everything except publishing, each operation on a channel of its own.
async fn refused_operations(connection: &Connection, bystander: &str) -> Vec<(String, u16)> {
    let none = FieldTable::default;
    let mut codes = Vec::new();
    let mut note = |what: String, result: Result<(), lapin::Error>| {
        codes.push((what, result.as_ref().err().map_or(0, code_of)));
    };
    for queue in [
        partition_queue(0),
        QUERIES_QUEUE.into(),
        reply_queue(bystander),
        BILLING_QUEUE.into(),
        DEAD.into(),
    ] {
        let name = || queue.as_str().into();
        let got = open(connection).await.basic_get(name(), BasicGetOptions::default()).await;
        note(format!("reading {queue}"), got.map(drop));
        let options = BasicConsumeOptions::default();
        let consumer =
            open(connection).await.basic_consume(name(), "".into(), options, none()).await;
        note(format!("consuming {queue}"), consumer.map(drop));
        let purged = open(connection).await.queue_purge(name(), QueuePurgeOptions::default()).await;
        note(format!("purging {queue}"), purged.map(drop));
        let deleted =
            open(connection).await.queue_delete(name(), QueueDeleteOptions::default()).await;
        note(format!("deleting {queue}"), deleted.map(drop));
    }
    let options = QueueDeclareOptions::default();
    let declared = open(connection).await.queue_declare("mine".into(), options, none()).await;
    note("declaring a queue".into(), declared.map(drop));
    for (queue, exchange) in [
        (reply_queue(bystander), EVENTS_EXCHANGE),
        (reply_queue(bystander), COMMANDS_EXCHANGE),
        (partition_queue(0), COMMANDS_EXCHANGE),
    ] {
        let name = || queue.as_str().into();
        let options = QueueBindOptions::default();
        let bound = open(connection)
            .await
            .queue_bind(name(), exchange.into(), "#".into(), options, none())
            .await;
        note(format!("binding {queue} to {exchange}"), bound);
        let unbound = open(connection)
            .await
            .queue_unbind(name(), exchange.into(), "*.*.cam".into(), none())
            .await;
        note(format!("unbinding {queue} from {exchange}"), unbound);
    }
    codes
}

async fn open(connection: &Connection) -> Channel {
    connection.create_channel().await.expect("a channel")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_may_publish_its_own_commands_and_nothing_else() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let (mut terminal, bystander) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    for (name, message, code) in publications(terminal.id(), bystander.id()) {
        assert_eq!(message.publish(&connection).await, Err(code), "{name}");
    }
    for (what, code) in refused_operations(&connection, bystander.id()).await {
        assert_eq!(code, ACCESS_REFUSED, "{what}");
    }
    // A terminal may read its reply queue and not change it.
    let own = reply_queue(terminal.id());
    let purged =
        open(&connection).await.queue_delete(own.as_str().into(), Default::default()).await;
    assert_eq!(purged.as_ref().err().map(code_of), Some(ACCESS_REFUSED));

    terminal.accepted(&server, window(86_400, 60)).await;
    assert_eq!(terminal.replies().len(), 1, "none of it reached a worker");
    assert!(bystander.replies().is_empty());
    for queue in [DEAD, BILLING_QUEUE] {
        assert!(stack.drain(queue).await.is_empty(), "{queue}");
    }
    assert!(!worker.log().contains("dead letter"));
    stack.finish().await;
}

/// A terminal that opens as many connections as it can leaves room for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_may_have_so_many_connections_and_channels_and_no_more() {
    let mut stack = Stack::new().await;
    // Both already have open connections.
    let (hog, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let server = stack.server("cam", &[]).await;
    let worker = stack.worker();
    // The broker counts a connection a moment after it accepts it.
    let mut connections = Vec::new();
    let refused = loop {
        match hog.endpoint.connect("one more").await {
            Ok(connection) => connections.push(connection),
            Err(BrokerError::Amqp { source, .. }) => break source,
            Err(error) => panic!("{error}"),
        }
        assert!(connections.len() < 2 * TERMINAL_CONNECTIONS_MAX as usize, "there is no limit");
    };
    assert_eq!(code_of(&refused), NOT_ALLOWED, "{refused}");
    let last = connections.pop().expect("some are allowed");
    let mut channels = Vec::new();
    let refused = loop {
        match last.create_channel().await {
            Ok(channel) => channels.push(channel),
            Err(BrokerError::Amqp { source, .. }) => break source,
            Err(error) => panic!("{error}"),
        }
        assert!(channels.len() < 2 * TERMINAL_CHANNELS_MAX as usize, "there is no limit");
    };
    assert_eq!(code_of(&refused), NOT_ALLOWED, "{refused}");
    other.accepted(&server, window(86_400, 60)).await;
    drop(worker);
    stack.finish().await;
}

/// From version 4 on, the broker checks these keys too.
#[tokio::test(flavor = "multi_thread")]
async fn copies_for_others_reach_nobody() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let (terminal, bystander) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let mut taken = 0;
    for header in ["CC", "BCC"] {
        for key in [format!("{}.request.cam", bystander.id()), reply_queue(bystander.id())] {
            let message = Message::request(terminal.id());
            match message.copied(header, &[&key]).publish(&connection).await {
                Ok(()) => taken += 1,
                Err(code) => assert_eq!(code, ACCESS_REFUSED, "{header} {key}"),
            }
        }
    }
    facts::until("answers", async || terminal.replies().len() == taken).await;
    assert!(bystander.replies().is_empty());
    drop(worker);
    stack.finish().await;
}
