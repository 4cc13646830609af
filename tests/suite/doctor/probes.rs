//! The probes find what does not pass, harm nothing and leave nothing behind.

use holdfast::broker::delay::level_name;
use holdfast::broker::partition_probe::{self, Outcome};
use holdfast::broker::topology::{COMMANDS_EXCHANGE, DEAD, REPLIES_EXCHANGE, partition_queue};
use holdfast::broker::{connection::Endpoint, temporary};
use lapin::BasicProperties;
use uuid::Uuid;

use super::{Report, examined};
use crate::support::stack::Stack;
use crate::support::{engines, facts};

async fn probed(stack: &Stack) -> Report {
    let environment = stack.operator_environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    examined(&environment, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn they_pass_and_leave_nothing_behind() {
    let stack = Stack::with_partitions(3).await;
    let report = probed(&stack).await;
    let texts = ["no partition has a consumer", "start `holdfast worker`"];
    assert!(report.is("probe.partitions", "red", &texts), "{}", report.told("probe.partitions"));
    assert_eq!(report.level("probe.ladder"), "green", "{}", report.told("probe.ladder"));
    for partition in 0..3 {
        assert_eq!(stack.depth(&partition_queue(partition)).await.0, 0, "nothing was sent");
    }
    let mut worker = stack.worker();
    facts::until("both probes pass", async || {
        let report = probed(&stack).await;
        report.is("probe.partitions", "green", &["all answered"])
            && report.level("probe.ladder") == "green"
    })
    .await;
    assert!(worker.stop().await.success());
    for table in ["history", "processed_commands", "outbox", "delivery_attempts"] {
        let count = format!("select count(*) from {table}");
        assert_eq!(stack.ask::<i64>(&count, &[]).await, 0, "{table}");
    }
    assert!(stack.drain(DEAD).await.is_empty());
    for partition in 0..3 {
        assert_eq!(stack.depth(&partition_queue(partition)).await.0, 0);
    }
    facts::until("their queues are gone", async || {
        let queues = engines::management().list_queues_in(&stack.vhost).await.expect("queues");
        !queues.iter().any(|queue| queue.name.starts_with("amq.gen-"))
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_does_not_answer() {
    let stack = Stack::new().await;
    let mut worker = stack.worker();
    facts::until("it answers", async || probed(&stack).await.level("probe.partitions") == "green")
        .await;
    worker.freeze();
    let report = probed(&stack).await;
    let told = report.told("probe.partitions");
    assert_eq!(report.level("probe.partitions"), "red", "{told}");
    assert!(told.contains("frozen") || told.contains("no consumer"), "{told}");
    worker.thaw();
    facts::until("it answers again", async || {
        probed(&stack).await.level("probe.partitions") == "green"
    })
    .await;
    assert!(worker.stop().await.success());
    // A probe that came too late has done nothing.
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_ladder_lets_nothing_pass() {
    let stack = Stack::new().await;
    let lowest = level_name(0);
    let channel = stack.amqp.create_channel().await.expect("a channel");
    channel.queue_delete(lowest.as_str().into(), Default::default()).await.expect("deleted");
    let report = probed(&stack).await;
    let texts = ["did not arrive", "topology.bindings"];
    assert!(report.is("probe.ladder", "red", &texts), "{}", report.told("probe.ladder"));
    stack.operate(&[], "topology apply", 0).await;
    assert_eq!(probed(&stack).await.level("probe.ladder"), "green");
    stack.finish().await;
}

/// It is answered only by way of the ladder's end, where terminals may not publish.
#[tokio::test(flavor = "multi_thread")]
async fn no_terminal_gets_a_probe_answered() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let account: Endpoint = stack.terminal_account("ann").await;
    let mut worker = stack.worker();
    let id = Uuid::new_v4();
    let key = partition_probe::answer_key(id);
    let queue = temporary::declare(&stack.amqp, REPLIES_EXCHANGE, &[&key]).await.expect("a queue");
    let terminal = account.connect("terminal").await.expect("the broker");
    let channel = terminal.create_channel().await.expect("a channel");
    let probe = BasicProperties::default()
        .with_type("probe".into())
        .with_message_id(id.to_string().as_str().into());
    let command = format!("{}.request.{server}", account.account(), server = server.as_str());
    let sent = channel.basic_publish(
        COMMANDS_EXCHANGE.into(),
        command.as_str().into(),
        Default::default(),
        b"",
        probe,
    );
    sent.await.expect("published");
    // What is behind it in the queue was answered, so it was decided, too.
    let outcomes = partition_probe::send(&stack.amqp, &[0]).await.expect("answered");
    assert!(matches!(outcomes[..], [(0, Outcome::Answered(_))]), "{outcomes:?}");
    assert_eq!(stack.depth(&queue).await.0, 0, "no answer to a terminal's probe");
    assert!(worker.stop().await.success());
    terminal.close().await.expect("closed");
    stack.finish().await;
}
