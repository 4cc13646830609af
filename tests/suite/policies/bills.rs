//! A bill reaches its queue whatever other subscribers of events do.

use std::collections::{HashMap, HashSet};

use holdfast::broker::topology::{BILLING_QUEUE, EVENTS_EXCHANGE};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use rabbitmq_http_client::commons::PolicyTarget;
use rabbitmq_http_client::requests::PolicyParams;
use serde_json::json;

use super::verify::over_all;
use crate::support::stack::Stack;
use crate::support::terminal::window;
use crate::support::{engines, facts};

const BILLS: usize = 6;

/// Tries of a copy that a subscriber refuses.
const TRIES_MAX: usize = 4;

/// A subscriber's queue, for all events.
async fn subscriber(stack: &Stack, name: &str, max_len: Option<i64>) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    if let Some(max_len) = max_len {
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(max_len));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    }
    let declared = channel.queue_declare(name.into(), Default::default(), arguments);
    declared.await.expect("a queue");
    let (exchange, all) = (EVENTS_EXCHANGE.into(), "#".into());
    let bound =
        channel.queue_bind(name.into(), exchange, all, Default::default(), FieldTable::default());
    bound.await.expect("bound");
}

/// How often each message is there.
fn counts(taken: &[Delivery]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for delivery in taken {
        let id = delivery.properties.message_id().as_ref().expect("an id").as_str().to_owned();
        *counts.entry(id).or_default() += 1;
    }
    counts
}

async fn bills(stack: &mut Stack) {
    let server =
        stack.server("cam", &[("capacity", &(BILLS as i32)), ("late_booking", &"confirm")]).await;
    let mut terminal = stack.terminal("ann").await;
    for _ in 0..BILLS {
        assert_eq!(terminal.accepted(&server, window(30, 600)).await.state, "confirmed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_subscriber_does_not_concern_the_biller() {
    let mut stack = Stack::new().await;
    subscriber(&stack, "full", Some(1)).await;
    subscriber(&stack, "witness", None).await;
    let mut worker = stack.worker();
    bills(&mut stack).await;
    facts::until("all are billed", async || {
        stack.depth(BILLING_QUEUE).await.0 == u32::try_from(BILLS).expect("a few")
    })
    .await;
    // The copies are given up.
    stack.outbox_empty().await;
    let billed = counts(&stack.drain(BILLING_QUEUE).await);
    assert_eq!(billed.len(), BILLS);
    assert!(billed.values().all(|times| *times == 1), "once each: {billed:?}");
    let seen = counts(&stack.drain("witness").await);
    let ids = |counts: &HashMap<String, usize>| counts.keys().cloned().collect::<HashSet<_>>();
    assert_eq!(ids(&seen), ids(&billed), "the same events for others");
    assert!(seen.values().all(|times| *times <= TRIES_MAX), "a few times each: {seen:?}");
    assert!(seen.values().any(|times| *times == TRIES_MAX), "it was refused: {seen:?}");
    worker.logged("copies of events were refused").await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_billing_queue_gets_each_bill_once_there_is_room() {
    let mut stack = Stack::new().await;
    subscriber(&stack, "witness", None).await;
    let policy = over_all(&stack, "full", PolicyTarget::Queues, json!({ "max-length": 1 }));
    let policy = PolicyParams { pattern: r"^billing\.", ..policy };
    engines::management().declare_policy(&policy).await.expect("a policy");
    let _worker = stack.worker();
    bills(&mut stack).await;
    facts::until("others have all of them", async || {
        stack.depth("witness").await.0 >= u32::try_from(BILLS).expect("a few")
    })
    .await;
    let waiting = "select count(*) from outbox where attempts > 1 and not is_copy";
    facts::until("a bill was refused twice", async || stack.ask::<i64>(waiting, &[]).await > 0)
        .await;
    engines::management().delete_policy(&stack.vhost, "full", false).await.expect("deleted");
    stack.outbox_empty().await;
    let billed = counts(&stack.drain(BILLING_QUEUE).await);
    assert_eq!(billed.len(), BILLS);
    assert!(billed.values().all(|times| *times == 1), "once each: {billed:?}");
    let seen = counts(&stack.drain("witness").await);
    assert!(seen.values().all(|times| *times == 1), "others are not concerned: {seen:?}");
    stack.finish().await;
}
