//! `holdfast status`: every section with real data, narrow enough, bounded, and useful with one engine away.

use std::time::Duration;

use holdfast::broker::topology::{DEAD, partition_queue};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::facts;
use crate::support::program::{Run, command, holdfast};
use crate::support::stack::Stack;
use crate::support::terminal::window;

/// Nothing listens on port 1.
const AWAY: [(&str, &str); 3] = [
    ("DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/x"),
    ("AMQP_URL", "amqp://me:s3cret@127.0.0.1:1/x"),
    ("RABBITMQ_MANAGEMENT_URL", "http://me:s3cret@127.0.0.1:1"),
];

const COLUMNS: usize = 80;
const LINES: usize = 36;

fn is_narrow(run: &Run) {
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= COLUMNS, "{line:?} is wider than {COLUMNS}: {run:?}");
    }
    assert!(run.stdout.lines().count() <= LINES, "{}", run.stdout);
}

async fn status(stack: &Stack) -> Value {
    let run = stack.operate(&[], "status --json", 0).await;
    serde_json::from_str(run.stdout.trim()).expect("JSON")
}

/// The keys of an object, of all objects in it, and of the first one in each array.
fn shape(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                found.push(format!("{path}.{name}"));
                shape(field, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => items.first().into_iter().for_each(|item| shape(item, path, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sections_tell_what_is_there() {
    let mut stack = Stack::with_partitions(2).await;
    let server = stack.server("cam", &[("capacity", &9i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let run = stack.operate(&[], "status", 0).await;
    assert!(run.stdout.contains("No worker is running"), "{run:?}");
    assert!(run.stdout.contains("no consumer"), "{run:?}");
    is_narrow(&run);

    let mut worker = stack.worker();
    terminal.accepted(&server, window(86_400, 60)).await;
    let told = facts::found("the worker tells what it has decided", async || {
        let told = status(&stack).await;
        (told["workers"]["live"][0]["decided"].as_i64()? >= 1).then_some(told)
    })
    .await;
    let one = &told["workers"]["live"][0];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the system's name");
    assert_eq!(one["host"], host.trim());
    assert_eq!(one["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(one["partitions"], serde_json::json!([0, 1]));
    assert!(one["silent_seconds"].as_f64().expect("a number") < 5.0, "{one}");
    assert!(one["clock_ahead_seconds"].as_f64().expect("a number").abs() < 5.0, "{one}");
    for engine in ["database", "broker", "management"] {
        assert_eq!(told[engine]["reached"], true, "{told}");
    }
    let with_server = told["partitions"].as_array().expect("partitions");
    assert_eq!(with_server.iter().filter(|one| one["servers"] == 1).count(), 1, "{told}");
    for partition in with_server {
        assert_eq!(partition["owner"], one["id"], "{partition}");
        assert_eq!(partition["consumers"], 1, "{partition}");
    }
    assert_eq!(told["deadlines"]["overdue"], 0, "{told}");
    let run = stack.operate(&[], "status", 0).await;
    for said in ["PostgreSQL ", "RabbitMQ ", "schema ", "none overdue", "0 bills", "1 consumer"] {
        assert!(run.stdout.contains(said), "{said}: {run:?}");
    }
    is_narrow(&run);

    // Killed, it is among the dead, and nothing has a consumer.
    worker.kill();
    let told = facts::found("it counts as dead", async || {
        let told = status(&stack).await;
        (told["workers"]["dead"].as_array()?.len() == 1).then_some(told)
    })
    .await;
    assert_eq!(told["workers"]["live"], serde_json::json!([]));
    let run = stack.operate(&[], "status", 0).await;
    for said in ["DEAD", "No worker is running", "no consumer"] {
        assert!(run.stdout.contains(said), "{said}: {run:?}");
    }
    is_narrow(&run);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_is_late_is_counted() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &9i32), ("lead_seconds", &1i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let held = terminal.accepted(&server, window(8, 60)).await.id;
    assert!(worker.stop().await.success());
    let request = holdfast::client::Command::request(
        crate::support::terminal::new_id(),
        server.as_str(),
        window(86_400, 60).0,
        window(86_400, 60).1,
    );
    terminal.client.send(&request).await.expect("it waits");
    let told = facts::found("the deadline is overdue", async || {
        let told = status(&stack).await;
        (told["deadlines"]["overdue"] == 1).then_some(told)
    })
    .await;
    assert!(told["partitions"][0]["waiting"].as_u64().expect("a number") >= 1, "{told}");
    assert_eq!(told["partitions"][0]["overdue"], 1);
    let run = stack.operate(&[], "status", 0).await;
    assert!(run.stdout.contains("1 overdue, the oldest for"), "{run:?}");
    is_narrow(&run);
    let _worker = stack.worker();
    stack.until_state(held, "cancelled").await;
    facts::until("none is overdue", async || status(&stack).await["deadlines"]["overdue"] == 0)
        .await;
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

/// Programs rely on it: keys are only added.
#[tokio::test(flavor = "multi_thread")]
async fn the_json_has_these_keys() {
    let stack = Stack::new().await;
    let _worker = stack.worker();
    let told = facts::found("the worker is listed", async || {
        let told = status(&stack).await;
        (told["workers"]["live"].as_array()?.len() == 1).then_some(told)
    })
    .await;
    let mut found = Vec::new();
    shape(&told, "", &mut found);
    for key in [
        ".at",
        ".version",
        ".vhost",
        ".schema",
        ".database.reached",
        ".database.version",
        ".database.problem",
        ".broker.reached",
        ".broker.version",
        ".management.reached",
        ".topology.partitions",
        ".topology.open_partitions",
        ".topology.delay_levels",
        ".topology.applied_at",
        ".workers.live.id",
        ".workers.live.host",
        ".workers.live.pid",
        ".workers.live.version",
        ".workers.live.started_at",
        ".workers.live.heartbeat_at",
        ".workers.live.silent_seconds",
        ".workers.live.partitions",
        ".workers.live.decided",
        ".workers.live.decided_per_second",
        ".workers.live.clock_ahead_seconds",
        ".workers.dead",
        ".partitions.partition",
        ".partitions.owner",
        ".partitions.servers",
        ".partitions.overdue",
        ".partitions.overdue_since",
        ".partitions.declared",
        ".partitions.waiting",
        ".partitions.consumers",
        ".partitions.in_hand",
        ".partitions.wait_seconds",
        ".partitions.acknowledged_per_second",
        ".partitions.oldest_at",
        ".deadlines.overdue",
        ".deadlines.counted_all",
        ".deadlines.oldest_at",
        ".outbox.bills",
        ".outbox.notices",
        ".outbox.copies",
        ".outbox.oldest_at",
        ".queries.waiting",
        ".queries.consumers",
        ".billing.waiting",
        ".dead_letters.waiting",
    ] {
        assert!(found.iter().any(|found| found == key), "{key} is missing: {told}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_engine_that_is_away_leaves_the_rest() {
    let stack = Stack::with_partitions(3).await;
    let [database, broker, management] = AWAY;
    for (away, kept) in [(database, "3"), (broker, "PostgreSQL ")] {
        let run = stack.operate(&[away], "status", 75).await;
        assert!(run.stdout.contains("away: "), "{run:?}");
        assert!(run.stdout.contains("127.0.0.1:1"), "{run:?}");
        assert!(run.stdout.contains(kept), "{run:?}");
        assert!(run.stdout.contains("PARTITION"), "{run:?}");
        assert!(!format!("{run:?}").contains("s3cret"), "{run:?}");
        is_narrow(&run);
        let run = stack.operate(&[away], "status --json", 75).await;
        let told: Value = serde_json::from_str(run.stdout.trim()).expect("JSON");
        assert_eq!(told["partitions"].as_array().expect("partitions").len(), 3, "{told}");
    }
    let run = stack.operate(&[management], "status", 0).await;
    assert!(run.stdout.contains("management"), "{run:?}");
    let run = stack.operate(&[("RABBITMQ_MANAGEMENT_URL", "")], "status", 0).await;
    assert!(run.stdout.contains("RABBITMQ_MANAGEMENT_URL is not set"), "{run:?}");
    is_narrow(&run);
    let run = holdfast(&AWAY, &["status"]).await;
    assert_eq!(run.code, 75, "{run:?}");
    is_narrow(&run);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_the_worst_are_shown() {
    let stack = Stack::with_partitions(20).await;
    let many = "insert into workers (id, host, pid, partitions, version, started_at, heartbeat_at)
        select gen_random_uuid(), repeat('long-name-', 9), 1234567890 + n,
            array(select generate_series(100, 200)), '10.20.30-beta.40',
            now() - interval '400 days', clock_timestamp() - case when n <= 40 then interval '1 s'
                else interval '10 min' end
        from generate_series(1, 60) n";
    stack.execute(many, &[]).await;
    let run = stack.operate(&[], "status", 0).await;
    for said in [
        "and 34 more live workers",
        "and 17 more dead workers",
        "and 12 more partitions",
        "--json lists all",
    ] {
        assert!(run.stdout.contains(said), "{said}: {run:?}");
    }
    is_narrow(&run);
    // The one that is worst off comes first.
    let worst = partition_queue(17);
    let channel = stack.amqp.create_channel().await.expect("a channel");
    channel.queue_delete(worst.as_str().into(), Default::default()).await.expect("deleted");
    let run = stack.operate(&[], "status", 0).await;
    let (_, partitions) = run.stdout.split_once("PARTITION ").expect("a table");
    let lines: Vec<&str> = partitions.lines().collect();
    assert!(lines.iter().any(|line| line.contains("no queue")), "{run:?}");
    let told = status(&stack).await;
    assert_eq!(told["partitions"][17]["declared"], false, "{told}");
    assert_eq!(told["partitions"][18]["declared"], true, "{told}");
    assert_eq!(told["workers"]["live"].as_array().expect("workers").len(), 40);
    stack.execute("delete from workers", &[]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_looks_again_until_it_is_interrupted() {
    let stack = Stack::new().await;
    let environment = stack.operator_environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut child =
        command(&environment, &["status", "--json", "--watch", "1"]).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.expect("in time").expect("readable").expect("a line");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        seen.push(told["at"].as_str().expect("a time").to_owned());
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    // Nobody reads any more.
    drop(lines);
    let ended = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;
    assert!(ended.expect("it ends").expect("a status").success());
    stack.finish().await;
}
