//! The HTTP endpoint of a worker: `/live`, `/ready` and `/metrics`.

mod bounds;
mod counts;
mod list;
mod paused;
mod shared;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::facts;
use crate::support::http::{endpoint, get, try_get, until_ready};
use crate::support::link::{Cut, Link};
use crate::support::stack::Stack;
use crate::support::terminal::window;

/// Far less than any bound on an engine.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_well_is_live_and_ready() {
    let stack = Stack::with_partitions(2).await;
    let mut worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    let live = get(address, "/live").await;
    assert_eq!((live.status, live.json()["live"].as_bool()), (200, Some(true)));
    let ready = get(address, "/ready").await.json();
    let checks: Vec<&str> =
        ready["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
    assert_eq!(checks, ["worker", "database", "broker", "schema", "topology", "partitions"]);
    let stored: Option<String> = stack.ask("select http_address from workers", &[]).await;
    assert_eq!(stored, Some(address.to_string()));
    assert!(worker.stop().await.success());
    assert!(try_get(address, "/live").await.is_err(), "it has ended with the worker");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_tells_when_the_broker_goes_and_comes_back() {
    let stack = Stack::new().await;
    let link = Link::open(Cut::Never);
    let direct = stack.operator_environment()[1].1.clone();
    let worker = stack.worker_to_ask(&[("AMQP_URL", &link.url(&direct))]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    link.hold();
    facts::until("it is known that the broker is silent", async || {
        get(address, "/ready").await.wrong("broker").is_some()
    })
    .await;
    let without = get(address, "/ready").await;
    assert_eq!(without.status, 503);
    assert_eq!(without.wrong("database"), None, "{without:?}");
    assert!(without.wrong("broker").unwrap().contains("since"), "{without:?}");
    assert_eq!(get(address, "/live").await.status, 200, "a new process would not help");
    link.reset();
    until_ready(address).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_tells_when_the_database_goes_and_comes_back() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let link = Link::to_database();
    let worker = stack.worker_to_ask(&[("DATABASE_URL", &link.url(&stack.worker_url))]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    link.hold();
    facts::until("it is known that the database is silent", async || {
        get(address, "/ready").await.wrong("database").is_some()
    })
    .await;
    // None of the answers waits for the database.
    let began = Instant::now();
    assert_eq!(get(address, "/live").await.status, 200);
    let without = get(address, "/ready").await;
    let metrics = get(address, "/metrics").await;
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(without.status, 503);
    assert_eq!(without.wrong("broker"), None, "{without:?}");
    assert!(metrics.body.contains("holdfast_ready{check=\"database\"} 0"), "{}", metrics.body);
    assert!(metrics.body.contains("holdfast_ready{check=\"broker\"} 1"), "{}", metrics.body);
    link.reset();
    until_ready(address).await;
    terminal.accepted(&server, window(86_400, 60)).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_names_what_the_broker_lacks() {
    let stack = Stack::with_partitions(2).await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let queue = holdfast::broker::topology::partition_queue(1);
    channel.queue_delete(queue.as_str().into(), Default::default()).await.expect("deleted");
    facts::until("both checks name it", async || {
        let ready = get(address, "/ready").await;
        let topology = ready.wrong("topology").is_some_and(|wrong| wrong.contains(&queue));
        let partitions = ready.wrong("partitions");
        topology && partitions.is_some_and(|wrong| wrong.contains("partition 1"))
    })
    .await;
    assert_eq!(get(address, "/ready").await.wrong("schema"), None);
    holdfast::broker::declare::apply(&stack.amqp, stack.shape).await.expect("applied");
    until_ready(address).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_names_a_migration_that_the_database_lacks() {
    let stack = Stack::new().await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    stack.execute("delete from schema_migrations where version = 2", &[]).await;
    facts::until("it is named", async || {
        let wrong = get(address, "/ready").await.wrong("schema");
        wrong.is_some_and(|wrong| wrong.contains("V2") && wrong.contains("holdfast migrate"))
    })
    .await;
    stack.finish().await;
}

/// The session begins the task anew, and it dies again.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_task_dies_again_and_again_is_not_live() {
    let stack = Stack::new().await;
    let worker = stack.worker_to_ask(&[("FAILPOINTS", "sweeping=panic")]);
    let address = endpoint(&worker).await;
    facts::until("it is not live", async || get(address, "/live").await.status == 503).await;
    let live = get(address, "/live").await.json();
    assert_eq!(live["live"], false);
    let what = live["wrong"][0]["what"].as_str().expect("a text");
    assert_eq!(what, "the sweep has panicked and does not recover");
    assert!(live["wrong"][0]["seconds"].as_u64().expect("a number") >= 10, "{live}");
    let metrics = get(address, "/metrics").await.body;
    let died = metrics.lines().find_map(|line| line.strip_prefix("holdfast_tasks_died_total "));
    assert!(died.and_then(|count| count.parse::<u32>().ok()) >= Some(2), "{died:?}");
    drop(worker);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_says_that_the_worker_stops() {
    let stack = Stack::new().await;
    let link = Link::to_database();
    let mut worker = stack.worker_to_ask(&[("DATABASE_URL", &link.url(&stack.worker_url))]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    // Its leaving is bounded, and waits for the database.
    link.hold();
    worker.tell_to_stop();
    facts::until("it says so", async || {
        let ready = get(address, "/ready").await;
        ready.status == 503 && ready.wrong("worker").is_some_and(|wrong| wrong.contains("stopping"))
    })
    .await;
    worker.ended().await;
    assert!(try_get(address, "/ready").await.is_err());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_and_taken_over_later() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = other.local_addr().expect("an address");
    let worker = stack.worker_with(&[("HOLDFAST_HTTP_LISTEN", &taken.to_string())]);
    facts::until("it is named", async || {
        let named = format!("cannot listen at {taken}: another process has it");
        worker.log().contains(&named)
    })
    .await;
    terminal.accepted(&server, window(86_400, 60)).await;
    drop(other);
    assert_eq!(endpoint(&worker).await, taken);
    until_ready(taken).await;
    stack.finish().await;
}
