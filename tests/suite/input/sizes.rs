//! Messages that are too large, or expire before a worker reads them.

use std::collections::HashSet;

use holdfast::broker::topology::DEAD;

use super::message::Message;
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{code, window};

/// The broker's limit unless it is configured: 128 MiB, or 16 MiB from RabbitMQ 4.0 on.
const BROKER_LEN_MAX: usize = 128 << 20;

const MESSAGES: usize = 40;
const LONG: usize = 4 << 20;
/// Far above what a worker normally uses, far below all those bodies.
const MEMORY_MAX: u64 = 100 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_brokers_limit_is_refused_by_it() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let message = Message::command(terminal.id(), "request", vec![b' '; BROKER_LEN_MAX + 1]);
    assert_eq!(message.publish(&connection).await, Err(406));
    terminal.accepted(&server, window(90_000, 60)).await;
    assert_eq!(terminal.replies().len(), 1, "no worker saw it");
    stack.finish().await;
}

/// All of them fit into one prefetch window.
#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_are_refused_and_take_no_memory() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let (terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let mut sent = HashSet::new();
    for _ in 0..MESSAGES {
        let message = Message::command(terminal.id(), "request", vec![b' '; LONG]);
        assert_eq!(message.publish(&connection).await, Ok(()));
        sent.insert(message.message_id.expect("an id"));
    }
    let worker = stack.worker();
    other.accepted(&server, window(90_000, 60)).await;
    let answered = async || terminal.first_answers().len() >= sent.len();
    facts::until("as many are answered", answered).await;
    let answers = terminal.first_answers();
    assert_eq!(answers.keys().cloned().collect::<HashSet<_>>(), sent, "each has its answer");
    for answer in answers.values() {
        assert_eq!(code(answer), Some("body_too_large"));
    }
    let peak = worker.peak_memory();
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    assert!(!worker.log().contains("ended"), "no connection was lost over it");
    stack.finish().await;
}

/// An expiration set by the sender is a forbidden property if a worker receives the message in
/// time, and makes it a dead letter otherwise. Either way its id stays unused.
#[tokio::test(flavor = "multi_thread")]
async fn what_expires_at_once_is_not_decided() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let terminal = stack.terminal("ann").await;
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let message = Message::request(terminal.id());
    let expiring = message.clone().with(|m| m.expiration = Some("0".to_owned()));
    let id = message.message_id.as_deref().expect("an id");
    assert_eq!(expiring.publish(&connection).await, Ok(()));
    let _worker = stack.worker();
    facts::until("it is answered or a dead letter", async || {
        !terminal.replies().is_empty() || stack.depth(DEAD).await.0 == 1
    })
    .await;
    let told = terminal.answers_to(id).len();
    if told == 1 {
        let answer = terminal.reply_to(id).await.answer().expect("an answer");
        assert_eq!(code(&answer), Some("forbidden_header"));
    }
    assert_eq!(message.publish(&connection).await, Ok(()));
    let answer = terminal.nth_reply_to(id, told + 1).await.answer().expect("an answer");
    assert_eq!(code(&answer), None, "{answer:?}");
    assert_eq!(stack.drain(DEAD).await.len(), 1 - told, "one or the other");
    stack.finish().await;
}
