//! What is paused on purpose is named with who did it and why, and is no fault.

use super::{Report, found_and_healed, until};
use crate::doctor::examined;
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::window;

const OLGA: [(&str, &str); 1] = [("HOLDFAST_OPERATOR", "olga")];

async fn probed(stack: &Stack) -> Report {
    let environment = stack.operator_environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    examined(&environment, &[]).await
}

/// Red checks, but for what the tests' own engine does without.
fn unhealthy(report: &Report) -> Vec<&str> {
    report.of("red").into_iter().filter(|check| *check != "database.fsync").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_paused() {
    let mut stack = Stack::with_partitions(2).await;
    let server = stack.server("cam", &[("lead_seconds", &1i32)]).await;
    let partition: i32 = stack.ask("select partition from servers where id = 'cam'", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let held = terminal.accepted(&server, window(8, 60)).await.id;
    stack.operate(&OLGA, "pause --server cam --why disks", 0).await;
    let paused = format!("partition {partition}: paused by olga since 20");
    let resume = format!("resume --partition {partition} --why");
    until(&stack, "partitions.paused", "yellow", &[&paused, "(disks)", &resume]).await;
    let late = format!("partition {partition} (paused): 1");
    until(&stack, "deadlines.overdue", "yellow", &[&late, "once deciding is resumed"]).await;
    facts::until("the other partition answers its probe", async || {
        let report = probed(&stack).await;
        let but = format!("but for those that are paused: {partition}");
        report.is("probe.partitions", "green", &["all answered", &but])
            && report.is("queues.consumers", "green", &["but for 1 that are paused"])
            && unhealthy(&report).is_empty()
    })
    .await;

    stack.operate(&OLGA, "pause --why everything", 0).await;
    let report = probed(&stack).await;
    let all = ["all partitions: paused by olga", "(everything)", &paused, "holdfast resume --why"];
    assert!(report.is("partitions.paused", "yellow", &all), "{}", report.told("partitions.paused"));
    let skipped = ["all partitions are paused", "once deciding is resumed"];
    assert!(
        report.is("probe.partitions", "skipped", &skipped),
        "{}",
        report.told("probe.partitions")
    );
    assert!(unhealthy(&report).is_empty(), "{:?}", unhealthy(&report));

    stack.operate(&OLGA, "resume --why done", 0).await;
    found_and_healed(&stack, "partitions.paused", "yellow", &[&paused], async || {
        stack.operate(&OLGA, &format!("resume --partition {partition} --why done"), 0).await;
    })
    .await;
    stack.until_state(held, "cancelled").await;
    until(&stack, "deadlines.overdue", "green", &["none"]).await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// A pause excuses no other partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_hides_no_fault_of_others() {
    let stack = Stack::with_partitions(2).await;
    stack.operate(&OLGA, "pause --partition 0 --why disks", 0).await;
    let report = probed(&stack).await;
    let queue = holdfast::broker::topology::partition_queue;
    assert_eq!(report.level("queues.consumers"), "red");
    let told = report.told("queues.consumers");
    assert!(told.contains(&queue(1)) && !told.contains(&queue(0)), "{told}");
    let told = report.told("probe.partitions");
    assert!(report.is("probe.partitions", "red", &["start `holdfast worker`"]), "{told}");
    stack.finish().await;
}
