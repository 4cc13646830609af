//! Workers that are gone or wrong, and what waits.

use holdfast::broker::topology::partition_queue;

use super::{found_and_healed, looked, until};
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::window;

/// Variables for a wrong clock; `None` without libfaketime, which `./dev test` installs on Debian and Ubuntu.
fn clock(off: &str) -> Option<[(String, String); 3]> {
    let library = std::env::var("HOLDFAST_FAKETIME").ok();
    if library.is_none() {
        eprintln!("skipped: there is no libfaketime here");
    }
    Some([
        ("LD_PRELOAD".to_owned(), library?),
        ("FAKETIME".to_owned(), off.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ])
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_at_all() {
    let stack = Stack::new().await;
    let texts = ["nothing is decided", "start `holdfast worker`"];
    until(&stack, "workers.live", "red", &texts).await;
    let queue = partition_queue(0);
    until(&stack, "queues.consumers", "red", &[&queue, "see that workers run"]).await;
    let mut worker = stack.worker();
    until(&stack, "workers.live", "green", &[]).await;
    until(&stack, "queues.consumers", "green", &[]).await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_killed() {
    let stack = Stack::new().await;
    let (mut first, mut second) = (stack.worker(), stack.worker());
    facts::until("both are live", async || {
        stack.ask::<i64>("select count(*) from workers", &[]).await == 2
    })
    .await;
    until(&stack, "workers.dead", "green", &["none"]).await;
    first.kill();
    let mut third = None;
    let texts = ["silent for", "start it again"];
    found_and_healed(&stack, "workers.dead", "yellow", &texts, async || {
        third = Some(stack.worker());
    })
    .await;
    assert!(second.stop().await.success());
    assert!(third.expect("it was started").stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_version() {
    let stack = Stack::new().await;
    let _worker = stack.worker();
    until(&stack, "workers.versions", "green", &[]).await;
    let other = "insert into workers (id, host, pid, version, heartbeat_at)
        values (gen_random_uuid(), 'old-host', 1, '0.0.9', clock_timestamp() + interval '4 seconds')";
    let planted = async || {
        stack.execute(other, &[]).await;
        let report = looked(&stack).await;
        report.is("workers.versions", "yellow", &["0.0.9", "old-host", "finish the upgrade"])
    };
    facts::until("the old one is named", planted).await;
    until(&stack, "workers.versions", "green", &[]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_wrong() {
    let Some(variables) = clock("+300s") else { return };
    let stack = Stack::new().await;
    let mut worker = stack.worker_with(&borrowed(&variables));
    let mut right = None;
    let texts = ["s ahead of the database", "NTP"];
    found_and_healed(&stack, "clock.workers", "red", &texts, async || {
        assert!(worker.stop().await.success());
        right = Some(stack.worker());
        until(&stack, "workers.live", "green", &[]).await;
    })
    .await;
    assert!(right.expect("it was started").stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_clock_is_wrong() {
    let Some(variables) = clock("-20s") else { return };
    let stack = Stack::new().await;
    let report = super::looked_with(&stack, &borrowed(&variables)).await;
    let texts = ["s behind the database", "NTP"];
    assert!(report.is("clock.host", "yellow", &texts), "{}", report.told("clock.host"));
    assert_eq!(looked(&stack).await.level("clock.host"), "green");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_overdue() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("lead_seconds", &1i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let held = terminal.accepted(&server, window(8, 60)).await.id;
    assert!(worker.stop().await.success());
    let mut next = None;
    let texts = ["partition 0: 1", "see that each partition has a consumer"];
    found_and_healed(&stack, "deadlines.overdue", "yellow", &texts, async || {
        next = Some(stack.worker());
        stack.until_state(held, "cancelled").await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_nobody_empties() {
    let stack = Stack::new().await;
    let old = "with message as (
            insert into outbox_messages (id, kind, type, routing_key, must_route, body, created_at)
            values (gen_random_uuid(), 'notice', 'reminder', 'gone', false, '{}', now() - interval '1 hour')
            returning id)
        insert into outbox (outbox_message_id) select id from message";
    stack.execute(old, &[]).await;
    let mut worker = None;
    let texts = ["1 notices, the oldest for 36", "see that workers run"];
    found_and_healed(&stack, "outbox.age", "red", &texts, async || {
        worker = Some(stack.worker());
        stack.outbox_empty().await;
    })
    .await;
    stack.execute("delete from outbox_messages", &[]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_arrives() {
    let stack = Stack::with_partitions(2).await;
    stack.server("cam", &[]).await;
    let stuck = "insert into moves (server_id, from_partition, to_partition, fence, started_at)
        select id, partition, 1 - partition, gen_random_uuid(), now() - interval '1 hour' from servers";
    assert_eq!(stack.execute(stuck, &[]).await, 1);
    let texts = ["its commands wait", "holdfast topology apply"];
    found_and_healed(&stack, "servers.moves", "yellow", &texts, async || {
        let mut worker = stack.worker();
        stack.operate(&[], "topology apply", 0).await;
        facts::until("it has arrived", async || {
            stack.ask::<i64>("select count(*) from moves", &[]).await == 0
        })
        .await;
        assert!(worker.stop().await.success());
    })
    .await;
    stack.finish().await;
}
