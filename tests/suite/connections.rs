//! Connections to the broker that break: whatever waits on one ends by itself.

use std::sync::mpsc;

use futures::FutureExt;
use futures::future::join_all;
use holdfast::broker::BrokerError;
use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::broker::consumer::QueueConsumer;
use holdfast::broker::topology::BILLING_QUEUE;
use lapin::BasicProperties;
use tokio::time::timeout;

use crate::support::facts::PATIENCE;
use crate::support::link::{Cut, Link};
use crate::support::stack::Stack;

/// How often two things are made to happen at the same time.
const TRIES: usize = 10;

/// What a session says before its connection is closed fits into this many bytes, either way.
const SESSION_BYTES: usize = 1_600;

/// Not much more than the shortest frame, so that no two frames go uncut.
const CUT_STEP: usize = 25;

async fn consumer(endpoint: &Endpoint) -> (Connection, QueueConsumer) {
    let connection = endpoint.connect("test").await.expect("the broker");
    let consumer = QueueConsumer::open(&connection, BILLING_QUEUE, 10).await.expect("a consumer");
    (connection, consumer)
}

/// Keeps the runtime's only worker from doing anything, until the sender that comes back is dropped.
fn block_worker() -> mpsc::Sender<()> {
    let (blocked, is_blocked) = mpsc::channel();
    let (release, released) = mpsc::channel();
    tokio::spawn(async move {
        blocked.send(()).expect("the test waits");
        released.recv().ok();
    });
    is_blocked.recv().expect("the task runs");
    release
}

/// When a connection breaks, lapin ends its io loop, and a task of its own then sets the status. Until
/// that task gets a processor the status is "connected", and lapin drops what it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_that_breaks_while_it_is_closed_does_not_hold_up_the_caller() {
    let stack = Stack::new().await;
    let link = Link::open(Cut::Never);
    for _ in 0..TRIES {
        let (connection, consumer) = consumer(&link.to(&stack.broker)).await;
        let acknowledger = consumer.acknowledger();
        let release = block_worker();
        link.reset();
        acknowledger.ack_one(1).await.expect_err("the connection is lost");
        assert!(connection.is_alive(), "lapin has not noticed yet");
        let mut closing = std::pin::pin!(connection.close());
        assert!(closing.as_mut().now_or_never().is_none());
        drop(release);
        let closed = timeout(PATIENCE, closing).await.expect("it ends");
        assert!(closed.is_err(), "nobody was there to close it");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_one_that_has_gone_silent_ends() {
    let stack = Stack::new().await;
    let link = Link::open(Cut::Never);
    let (connection, mut consumer) = consumer(&link.to(&stack.broker)).await;
    link.hold();
    let collected = timeout(PATIENCE, consumer.collect(1)).await.expect("it ends");
    assert!(collected.is_err(), "nothing can have come");
    assert!(!connection.is_alive());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_has_gone_silent_can_be_closed() {
    let stack = Stack::new().await;
    let link = Link::open(Cut::Never);
    let (connection, _consumer) = consumer(&link.to(&stack.broker)).await;
    link.hold();
    let closed = timeout(PATIENCE, connection.close()).await.expect("it ends");
    assert!(closed.is_err(), "nobody has answered");
    link.deserted().await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_to_connect_to_a_silent_broker_leaves_nothing_behind() {
    let stack = Stack::new().await;
    let link = Link::open(Cut::Never);
    link.hold();
    let connected = link.to(&stack.broker).connect("test").await;
    assert!(connected.is_err(), "nobody has answered");
    link.deserted().await;
    stack.finish().await;
}

/// Puts messages on the billing queue.
async fn put(stack: &Stack, count: usize) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    for _ in 0..count {
        let (queue, none) = (BILLING_QUEUE.into(), BasicProperties::default());
        let sent = channel.basic_publish("".into(), queue, Default::default(), b"{}", none);
        sent.await.expect("sent");
    }
    channel.close(200, "".into()).await.expect("the channel closes");
}

/// Consumes, acknowledges and closes, until the connection breaks.
async fn session(endpoint: &Endpoint) -> Result<(), BrokerError> {
    let connection = endpoint.connect("test").await?;
    let mut consumer = QueueConsumer::open(&connection, BILLING_QUEUE, 1).await?;
    for delivery in consumer.collect(1).await? {
        consumer.acknowledger().ack_one(delivery.delivery_tag).await?;
    }
    connection.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_one_is_cut_nothing_waits_for_ever() {
    let stack = Stack::new().await;
    let places = (1..SESSION_BYTES).step_by(CUT_STEP);
    let cuts = places.flat_map(|bytes| [Cut::Up(bytes), Cut::Down(bytes)]);
    // Each session takes one at most.
    put(&stack, cuts.clone().count()).await;
    let sessions = cuts.map(async |cut| {
        let link = Link::open(cut);
        let endpoint = link.to(&stack.broker);
        timeout(PATIENCE, session(&endpoint)).await.unwrap_or_else(|_| panic!("{cut:?}: it hangs"))
    });
    let ends = join_all(sessions).await;
    assert!(ends.iter().any(Result::is_err), "nothing was cut");
    stack.finish().await;
}
