//! A server's commands reach its partition, and no other, whatever happens to the bindings.

use std::collections::BTreeMap;

use holdfast::broker::consumer::{QueueConsumer, received};
use holdfast::broker::publisher::Fate;
use holdfast::broker::routes::{self, Route};
use holdfast::broker::topology::{QUERIES_QUEUE, partition_queue};
use holdfast::client::Command;
use lapin::message::Delivery;
use serde_json::Value;

use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

/// Enough that every partition has several servers.
const SERVERS: usize = 40;
const PARTITIONS: i32 = 4;

async fn with_servers() -> Stack {
    let stack = Stack::with_partitions(PARTITIONS).await;
    for n in 0..SERVERS {
        stack.server(&format!("s{n}"), &[]).await;
    }
    stack
}

fn commands() -> Vec<Command> {
    let (start, end) = window(86_400, 60);
    (0..SERVERS).map(|n| Command::request(new_id(), &format!("s{n}"), start, end)).collect()
}

/// Where the database wants each server's commands.
async fn wanted(stack: &Stack) -> BTreeMap<String, i32> {
    let rows = stack.db.query("select id, partition from servers", &[]).await.expect("servers");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Sends a command for each server and returns the partitions in which they arrived. No worker may
/// run meanwhile.
async fn arrived(stack: &Stack, terminal: &mut Terminal) -> BTreeMap<String, i32> {
    let fates = terminal.client.send_all(&commands()).await.expect("sent");
    assert_eq!(fates, [Fate::Routed; SERVERS]);
    let mut arrived = BTreeMap::new();
    for partition in 0..stack.shape.partitions {
        for delivery in take_all(stack, &partition_queue(partition)).await {
            let key = received(delivery).routing_key;
            let server = key.rsplit('.').next().expect("a word").to_owned();
            assert_eq!(arrived.insert(server, partition), None, "it arrives once");
        }
    }
    arrived
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

async fn delete_queue(stack: &Stack, queue: &str) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    channel.queue_delete(queue.into(), Default::default()).await.expect("deleted");
}

fn names(verified: &Value, key: &str) -> Vec<String> {
    let names = verified[key].as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_topology_makes_the_bindings_what_the_database_says() {
    let mut stack = with_servers().await;
    let mut terminal = stack.terminal("ann").await;
    let wanted = wanted(&stack).await;
    assert_eq!(wanted.values().filter(|partition| **partition == 1).count(), SERVERS / 4);
    assert_eq!(arrived(&stack, &mut terminal).await, wanted);
    stack.operate(&[], "topology verify", 0).await;

    // A queue is lost with its bindings, one binding is gone, one is too many, and one is nobody's.
    delete_queue(&stack, &partition_queue(2)).await;
    let route = |server: &str, partition| Route { server: server.to_owned(), partition };
    let lost = route("s0", wanted["s0"]);
    routes::unbind(&stack.amqp, std::slice::from_ref(&lost)).await.expect("unbound");
    let surplus = [route("s1", (wanted["s1"] + 2) % PARTITIONS), route("gone", 0)];
    routes::bind(&stack.amqp, &surplus).await.expect("bound");
    let run = stack.operate(&[], "topology verify", 3).await;
    assert!(run.stdout.contains("queue reservation.commands.v2.2"), "{run:?}");
    stack.operate(&[], "topology apply", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    assert_eq!(arrived(&stack, &mut terminal).await, wanted);
    let again = stack.operate(&[], "topology apply --json", 0).await;
    let again: Value = serde_json::from_str(&again.stdout).expect("JSON");
    assert_eq!((&again["bound"], &again["unbound"]), (&Value::from(0), &Value::from(0)));
    stack.finish().await;
}

/// Each binding that is missing or too many is named, and without the management API each missing one.
#[tokio::test(flavor = "multi_thread")]
async fn verifying_names_what_is_wrong() {
    let stack = with_servers().await;
    let wanted = wanted(&stack).await;
    let missing = Route { server: "s7".to_owned(), partition: wanted["s7"] };
    let surplus = Route { server: "s8".to_owned(), partition: (wanted["s8"] + 1) % PARTITIONS };
    routes::unbind(&stack.amqp, std::slice::from_ref(&missing)).await.expect("unbound");
    routes::bind(&stack.amqp, std::slice::from_ref(&surplus)).await.expect("bound");
    let run = stack.operate(&[], "topology verify --json", 3).await;
    let verified: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(names(&verified, "missing"), [format!("binding of {missing}")]);
    assert_eq!(names(&verified, "surplus"), [format!("binding of {surplus}")]);

    let without = [("RABBITMQ_MANAGEMENT_URL", "")];
    let run = stack.operate(&without, "topology verify --json", 3).await;
    let verified: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(names(&verified, "missing"), [format!("binding of {missing}")]);
    assert_eq!(names(&verified, "surplus"), Vec::<String>::new());
    stack.operate(&without, "topology apply", 0).await;
    stack.operate(&without, "topology verify", 0).await;
    // What is too many can only be seen over the management API.
    stack.operate(&[], "topology apply", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    // Workers take the probes from the queues, and answer nobody.
    let mut worker = stack.worker();
    for queue in (0..PARTITIONS).map(partition_queue).chain([QUERIES_QUEUE.to_owned()]) {
        let empty = async || stack.depth(&queue).await.0 == 0;
        crate::support::facts::until("the probes are gone", empty).await;
    }
    assert!(worker.stop().await.success());
    assert!(stack.drain(holdfast::broker::topology::DEAD).await.is_empty());
    stack.finish().await;
}

/// The broker returns what names no known server, and nothing of it is stored anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_an_unknown_server_is_returned() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let (start, end) = window(86_400, 60);
    let unknown = Command::request(new_id(), "none", start, end);
    let known = Command::request(new_id(), "cam", start, end);
    let fates = terminal.client.send_all(&[unknown.clone(), known.clone()]).await.expect("sent");
    assert_eq!(fates, [Fate::Unroutable, Fate::Routed]);
    let error = terminal.client.send(&unknown).await.expect_err("nobody takes it");
    assert!(error.to_string().contains("no such server"), "{error}");
    assert_eq!(stack.depth(&partition_queue(0)).await.0, 1);
    let _worker = stack.worker();
    terminal.reply_to(&known.message_id).await;
    // Added meanwhile, the server gets the same command.
    stack.server("none", &[]).await;
    terminal.ask(&unknown).await;
    let stored: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
    assert_eq!(stored, 2);
    stack.finish().await;
}

/// What a former version declared goes, unless something of it is still in use.
#[tokio::test(flavor = "multi_thread")]
async fn what_former_versions_left_is_removed() {
    let stack = Stack::with_partitions(2).await;
    let channel = stack.amqp.create_channel().await.expect("a channel");
    for exchange in ["reservation.commands.v1", "reservation.partitions.v2"] {
        let (kind, none) = (lapin::ExchangeKind::Topic, Default::default());
        let declared = channel.exchange_declare(exchange.into(), kind, Default::default(), none);
        declared.await.expect("declared");
    }
    for queue in ["reservation.commands.v1.0", "reservation.commands.v1.1"] {
        let options = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), options, Default::default()).await.expect("declared");
    }
    let properties = lapin::BasicProperties::default();
    let left = channel
        .basic_publish(
            "".into(),
            "reservation.commands.v1.1".into(),
            Default::default(),
            b"{}",
            properties,
        )
        .await;
    left.expect("published");
    crate::support::facts::until("it waits", async || {
        stack.depth("reservation.commands.v1.1").await.0 == 1
    })
    .await;
    let run = stack.operate(&[], "topology apply --json", 0).await;
    let applied: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(
        names(&applied, "removed"),
        [
            "exchange reservation.commands.v1",
            "exchange reservation.partitions.v2",
            "queue reservation.commands.v1.0"
        ]
    );
    assert_eq!(names(&applied, "kept"), ["queue reservation.commands.v1.1"]);
    delete_queue(&stack, "reservation.commands.v1.1").await;
    stack.finish().await;
}
