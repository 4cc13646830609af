//! Faults on the broker: what is declared, bound and set.

use holdfast::broker::delay::{DUE_EXCHANGE, level_name};
use holdfast::broker::installation;
use holdfast::broker::topology::{
    BILLING_EXCHANGE, BILLING_QUEUE, COMMANDS_EXCHANGE, DEAD, partition_queue, reply_queue,
};
use holdfast::store::registry;
use lapin::Channel;
use lapin::types::{AMQPValue, FieldTable};
use rabbitmq_http_client::commons::PolicyTarget;
use rabbitmq_http_client::requests::PolicyParams;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{found_and_healed, looked, until};
use crate::support::engines;
use crate::support::stack::Stack;

async fn channel(stack: &Stack) -> Channel {
    stack.amqp.create_channel().await.expect("a channel")
}

fn over_queues<'a>(stack: &'a Stack, name: &'a str, definition: Value) -> PolicyParams<'a> {
    PolicyParams {
        vhost: &stack.vhost,
        name,
        pattern: ".*",
        apply_to: PolicyTarget::Queues,
        priority: 7,
        definition: definition.as_object().expect("an object").clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_a_time_to_live() {
    let stack = Stack::new().await;
    until(&stack, "topology.policies", "green", &[]).await;
    let policy = over_queues(&stack, "theirs", json!({ "message-ttl": 86_400_000 }));
    engines::management().declare_policy(&policy).await.expect("a policy");
    let queue = partition_queue(0);
    let texts = [&*queue, "message-ttl is 86400000", "policy theirs", "narrow the pattern"];
    found_and_healed(&stack, "topology.policies", "red", &texts, async || {
        // The remedy that is named.
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_policy_with_a_length() {
    let stack = Stack::new().await;
    let policy = over_queues(&stack, "hoster", json!({ "max-length": 9 }));
    engines::management().declare_operator_policy(&policy).await.expect("a policy");
    let texts =
        ["max-length is 9, not 10000000", "operator policy hoster", "operator policies it cannot"];
    found_and_healed(&stack, "topology.policies", "red", &texts, async || {
        let management = engines::management();
        management.delete_operator_policy(&stack.vhost, "hoster", false).await.expect("deleted");
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_the_ladder_that_is_unbound() {
    let stack = Stack::new().await;
    let (from, to) = (level_name(3), level_name(2));
    let path = format!("bindings/{}/e/{from}/e/{to}", stack.vhost);
    let found = crate::doctor::alarms::api(engines::MANAGEMENT_URL.as_str(), "GET", &path).await;
    let key = found[0]["properties_key"].as_str().expect("a key").to_owned();
    let path = format!("{path}/{key}");
    crate::doctor::alarms::api(engines::MANAGEMENT_URL.as_str(), "DELETE", &path).await;
    let missing = format!("missing: exchange {to} to exchange {from}");
    let texts = [&*missing, "holdfast topology apply"];
    found_and_healed(&stack, "topology.bindings", "red", &texts, async || {
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_bound_to_the_ladder() {
    let stack = Stack::new().await;
    let queue = partition_queue(0);
    let (name, key) = (queue.as_str().into(), "#.p0".into());
    let channel = channel(&stack).await;
    let unbound = channel.queue_unbind(name, DUE_EXCHANGE.into(), key, FieldTable::default());
    unbound.await.expect("unbound");
    let missing = format!("queue {queue} to exchange {DUE_EXCHANGE} with #.p0");
    found_and_healed(&stack, "topology.bindings", "red", &[&missing], async || {
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted() {
    let stack = Stack::with_partitions(2).await;
    let queue = partition_queue(1);
    let deleted =
        channel(&stack).await.queue_delete(queue.as_str().into(), Default::default()).await;
    deleted.expect("deleted");
    let missing = format!("queue {queue} is missing");
    let texts = [&*missing, "holdfast topology apply"];
    found_and_healed(&stack, "topology.objects", "red", &texts, async || {
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_declared_otherwise() {
    let stack = Stack::new().await;
    let queue = level_name(4);
    let channel = channel(&stack).await;
    channel.queue_delete(queue.as_str().into(), Default::default()).await.expect("deleted");
    let mut arguments = FieldTable::default();
    for (name, value) in [("x-queue-type", "quorum"), ("x-overflow", "drop-head")] {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let options = lapin::options::QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), options, arguments).await.expect("declared");
    let wrong = format!("queue {queue}: x-dead-letter-exchange is none, not \"{}\"", level_name(3));
    let texts = [&*wrong, "delete it, and run `holdfast topology apply`"];
    found_and_healed(&stack, "topology.arguments", "red", &texts, async || {
        channel.queue_delete(queue.as_str().into(), Default::default()).await.expect("deleted");
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_installation_on_the_vhost() {
    let stack = Stack::new().await;
    let id = registry::load_installation(&stack.db).await.expect("an id");
    let other = Uuid::new_v4();
    installation::release(&stack.amqp, id).await.expect("released");
    installation::claim(&stack.amqp, other).await.expect("claimed");
    let named = other.to_string();
    let texts = [&*named, "holdfast topology apply --take-over"];
    found_and_healed(&stack, "topology.owner", "red", &texts, async || {
        stack.operate(&[], "topology apply --take-over", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_others_on_the_bills_exchange() {
    let stack = Stack::new().await;
    let channel = channel(&stack).await;
    let none = FieldTable::default;
    channel.queue_declare("theirs".into(), Default::default(), none()).await.expect("declared");
    let (queue, exchange) = ("theirs".into(), BILLING_EXCHANGE.into());
    channel
        .queue_bind(queue, exchange, "".into(), Default::default(), none())
        .await
        .expect("bound");
    let named = format!("queue theirs, bound to {BILLING_EXCHANGE}");
    found_and_healed(&stack, "topology.foreign", "red", &[&named, "unbind them"], async || {
        channel.queue_delete("theirs".into(), Default::default()).await.expect("deleted");
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_binding_is_gone() {
    let stack = Stack::new().await;
    stack.server("cam", &[]).await;
    until(&stack, "topology.routes", "green", &["1 servers"]).await;
    let (queue, key) = (partition_queue(0), "*.*.cam");
    let channel = channel(&stack).await;
    let unbound = channel.queue_unbind(
        queue.as_str().into(),
        COMMANDS_EXCHANGE.into(),
        key.into(),
        FieldTable::default(),
    );
    unbound.await.expect("unbound");
    let missing = format!("missing: server cam to queue {queue}");
    let texts = [&*missing, "holdfast topology apply"];
    found_and_healed(&stack, "topology.routes", "red", &texts, async || {
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_queue_that_is_missing() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal_account("ann").await;
    until(&stack, "topology.replies", "green", &["1 terminals"]).await;
    let queue = reply_queue(terminal.account());
    let deleted =
        channel(&stack).await.queue_delete(queue.as_str().into(), Default::default()).await;
    deleted.expect("deleted");
    let missing = format!("queue {queue} is missing");
    let texts = [&*missing, "holdfast topology apply"];
    found_and_healed(&stack, "topology.replies", "red", &texts, async || {
        stack.operate(&[], "topology apply", 0).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_nobody_looked_at() {
    let stack = Stack::new().await;
    let channel = channel(&stack).await;
    let published = channel.basic_publish(
        DEAD.into(),
        "internal_error".into(),
        Default::default(),
        b"?",
        Default::default(),
    );
    published.await.expect("published");
    let texts = ["1; ", "holdfast dead-letter list"];
    found_and_healed(&stack, "queues.dead_letters", "yellow", &texts, async || {
        assert_eq!(stack.drain(DEAD).await.len(), 1);
    })
    .await;
    assert_eq!(looked(&stack).await.level("queues.billing"), "green");
    assert_eq!(stack.depth(BILLING_QUEUE).await.0, 0);
    stack.finish().await;
}
