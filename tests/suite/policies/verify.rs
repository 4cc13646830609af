//! `topology verify` and `apply` compare what queues and exchanges do, not how they were declared.

use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{
    BILLING_EXCHANGE, BILLING_QUEUE, COMMANDS_EXCHANGE, EVENTS_EXCHANGE, REPLIES_EXCHANGE,
    partition_queue, reply_queue,
};
use lapin::types::FieldTable;
use rabbitmq_http_client::commons::PolicyTarget;
use rabbitmq_http_client::requests::{Permissions, PolicyParams, UserParams};
use serde_json::{Map, Value, json};
use url::Url;

use crate::support::program::{Run, holdfast};
use crate::support::stack::Stack;
use crate::support::{engines, facts};

/// A policy over everything on the vhost.
pub(super) fn over_all<'a>(
    stack: &'a Stack,
    name: &'a str,
    target: PolicyTarget,
    definition: Value,
) -> PolicyParams<'a> {
    let definition: Map<String, Value> = definition.as_object().expect("an object").clone();
    PolicyParams {
        vhost: &stack.vhost,
        name,
        pattern: ".*",
        apply_to: target,
        priority: 7,
        definition,
    }
}

/// Verifies until it ends like this: the broker's statistics are some seconds behind.
async fn verified(stack: &Stack, code: i32, texts: &[&str]) -> Run {
    let environment = stack.operator_environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let what = format!("verify ends with {code} and tells {texts:?}");
    facts::found(&what, async || {
        let run = holdfast(&environment, &["topology", "verify"]).await;
        let told = format!("{}{}", run.stdout, run.stderr);
        (run.code == code && texts.iter().all(|text| told.contains(text))).then_some(run)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_over_queues_are_named_and_kept_off() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal_account("ann").await;
    let replies = reply_queue(terminal.account());
    verified(&stack, 0, &["complete"]).await;

    let management = engines::management();
    let bounds = json!({ "message-ttl": 86_400_000, "max-length": 7, "expires": 86_400_000 });
    let policy = over_all(&stack, "theirs", PolicyTarget::Queues, bounds);
    management.declare_policy(&policy).await.expect("a policy");
    let commands = partition_queue(0);
    let texts = [
        format!("queue {BILLING_QUEUE}: max-length is 7, not 10000000; by policy theirs"),
        format!("queue {commands}: message-ttl is 86400000, not none; by policy theirs"),
        format!("queue {replies}: expires is 86400000, not none; by policy theirs"),
        // The lesser of both holds: a week.
        format!("queue {replies}: message-ttl is 86400000, not 604800000; by policy theirs"),
        "Narrow the pattern".to_owned(),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let run = verified(&stack, 3, &texts).await;
    assert!(!run.stdout.contains("complete"), "{run:?}");

    // Ours takes its place, and changes nothing.
    stack.operate(&[], "topology apply", 0).await;
    verified(&stack, 0, &["complete"]).await;

    // It does not keep off an operator's.
    let bounds = json!({ "max-length": 9 });
    let policy = over_all(&stack, "hoster", PolicyTarget::Queues, bounds);
    management.declare_operator_policy(&policy).await.expect("a policy");
    let named = format!(
        "queue {BILLING_QUEUE}: max-length is 9, not 10000000; by policy holdfast and operator policy hoster"
    );
    verified(&stack, 3, &[&named]).await;
    let run = stack.operate(&[], "topology apply", 3).await;
    assert!(run.stdout.contains(&named), "{run:?}");
    assert!(run.stdout.contains("applied: 1 partitions"), "{run:?}");
    management.delete_operator_policy(&stack.vhost, "hoster", false).await.expect("deleted");
    stack.operate(&[], "topology apply", 0).await;

    // A harmless one is no fault.
    let bounds = json!({ "max-length": 10_000_000, "delivery-limit": 1_000_000_000 });
    let policy = over_all(&stack, "hoster", PolicyTarget::Queues, bounds);
    management.declare_operator_policy(&policy).await.expect("a policy");
    verified(
        &stack,
        3,
        &["delivery-limit is 1000000000, not none; by policy holdfast and operator"],
    )
    .await;
    let run = stack.operate(&[], "topology verify --json", 3).await;
    let told: Value = serde_json::from_str(run.stdout.trim()).expect("JSON");
    for deviation in told["deviations"].as_array().expect("deviations") {
        // Queues that state no delivery limit.
        assert_eq!(deviation["key"], "delivery-limit", "{deviation}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alternate_exchange_by_policy_is_named_and_kept_off() {
    let stack = Stack::new().await;
    let definition = json!({ "alternate-exchange": "amq.fanout" });
    let policy = over_all(&stack, "swallow", PolicyTarget::Exchanges, definition);
    engines::management().declare_policy(&policy).await.expect("a policy");
    let named = format!(
        "exchange {COMMANDS_EXCHANGE}: alternate-exchange is \"amq.fanout\", not none; by policy swallow"
    );
    let run = stack.operate(&[], "topology verify", 3).await;
    assert!(run.stdout.contains(&named), "{run:?}");
    // The events' exchange is anybody's; an argument beats the policy.
    for other in [EVENTS_EXCHANGE, "reservation.due.v1"] {
        assert!(!run.stdout.contains(&format!("exchange {other}")), "{run:?}");
    }
    stack.operate(&[], "topology apply", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_reply_queue_is_named_and_made_again() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal_account("ann").await;
    let queue = reply_queue(terminal.account());
    let named = format!("missing: queue {queue}");
    let channel = stack.amqp.create_channel().await.expect("a channel");
    channel.queue_delete(queue.as_str().into(), Default::default()).await.expect("deleted");
    for without in [&[][..], &[("RABBITMQ_MANAGEMENT_URL", "")]] {
        let run = stack.operate(without, "topology verify", 3).await;
        assert!(run.stdout.contains(&named), "{run:?}");
    }
    stack.operate(&[], "topology apply", 0).await;
    verified(&stack, 0, &["complete"]).await;

    let (name, key) = (queue.as_str().into(), terminal.account().into());
    let unbound = channel.queue_unbind(name, REPLIES_EXCHANGE.into(), key, FieldTable::default());
    unbound.await.expect("unbound");
    let run = stack.operate(&[], "topology verify", 3).await;
    assert!(run.stdout.contains(&format!("missing: binding of queue {queue}")), "{run:?}");
    stack.operate(&[], "topology apply", 0).await;
    verified(&stack, 0, &["complete"]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_compared_is_said() {
    let stack = Stack::new().await;
    let without = [("RABBITMQ_MANAGEMENT_URL", "")];
    let run = stack.operate(&without, "topology verify", 0).await;
    assert!(run.stdout.contains("were not compared: set RABBITMQ_MANAGEMENT_URL"), "{run:?}");
    assert!(!run.stdout.contains("complete"), "{run:?}");
    let run = stack.operate(&without, "topology verify --json", 0).await;
    assert!(run.stdout.contains(r#""policies_compared":false"#), "{run:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_set_no_policies_applies_all_the_same() {
    let stack = Stack::new().await;
    let (account, management) = (stack.named("reader"), engines::management());
    let hash = rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256(
        &[1, 2, 3, 4],
        engines::PASSWORD,
    );
    management.create_user(&UserParams::new(&account, &hash, "management")).await.expect("made");
    let all = Permissions::full_access(&account, &stack.vhost);
    management.declare_permissions(&all).await.expect("grant");
    let mut url: Url = engines::MANAGEMENT_URL.clone();
    url.set_username(&account).expect("http URLs have one");
    url.set_password(Some(engines::PASSWORD)).expect("http URLs have one");
    let url = url.to_string();
    let run = stack.operate(&[("RABBITMQ_MANAGEMENT_URL", &url)], "topology apply", 0).await;
    assert!(
        run.stdout.contains("the policy holdfast, which keeps off others, was not set"),
        "{run:?}"
    );
    engines::drop_account(&account).await;
    stack.finish().await;
}

/// A queue of others on an exchange of ours could refuse our messages.
#[tokio::test(flavor = "multi_thread")]
async fn bindings_of_others_to_private_exchanges_are_named() {
    let stack = Stack::new().await;
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let declared =
        channel.queue_declare("theirs".into(), Default::default(), FieldTable::default());
    declared.await.expect("a queue");
    let bind = async |queue: &str, exchange: &str, key: &str| {
        let (queue, exchange, key) = (queue.into(), exchange.into(), key.into());
        let bound =
            channel.queue_bind(queue, exchange, key, Default::default(), FieldTable::default());
        bound.await.expect("bound");
    };
    bind("theirs", BILLING_EXCHANGE, "").await;
    bind("theirs", &level_name(0), "#").await;
    // What anybody may do.
    bind("theirs", EVENTS_EXCHANGE, "#").await;
    // As before bills had an exchange of their own.
    bind(BILLING_QUEUE, EVENTS_EXCHANGE, "reservation.confirmed.#").await;
    let run = stack.operate(&[], "topology verify", 3).await;
    for named in [
        format!("of others: queue theirs, bound to {BILLING_EXCHANGE}"),
        format!("of others: queue theirs, bound to {}", level_name(0)),
        format!("of others: queue {BILLING_QUEUE}, bound to {EVENTS_EXCHANGE}"),
    ] {
        assert!(run.stdout.contains(&named), "{named}: {run:?}");
    }
    assert_eq!(run.stdout.matches("of others").count(), 3, "{run:?}");
    stack.operate(&[], "topology apply", 0).await;
    let run = stack.operate(&[], "topology verify", 3).await;
    assert_eq!(run.stdout.matches("of others").count(), 2, "ours is unbound: {run:?}");
    channel.queue_delete("theirs".into(), Default::default()).await.expect("deleted");
    stack.operate(&[], "topology verify", 0).await;
    stack.finish().await;
}
