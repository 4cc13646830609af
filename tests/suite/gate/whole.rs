//! Worker, gate and streaming server together: from the request to the record of what was used.

use holdfast::domain::access::PREFIX;
use holdfast::message::answer::Notice;

use super::guarded::{SERVER, account, hooks};
use super::icecast::Source;
use crate::support::facts;
use crate::support::secret::SecretFile;
use crate::support::stack::Stack;
use crate::support::streaming::Server;
use crate::support::terminal::window;
use crate::support::worker::Worker;

/// Immediate use: what is booked for now is confirmed by its answer, and its key opens the server at its start.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_booked_for_now_is_let_in_and_cut_off_and_its_use_is_told() {
    let hooks = hooks();
    let Some(icecast) = Server::icecast(hooks).await else { return };
    let mut stack = Stack::new().await;
    let columns = [
        ("late_booking", &"confirm" as _),
        ("lead_seconds", &3_600 as _),
        ("connection_url", &"http://source:{key}@cam.example/{reservation}" as _),
    ];
    let server = stack.server(SERVER, &columns).await;
    let mut terminal = stack.terminal("ann").await;
    let secrets = SecretFile::new(&["s1"]);
    let mut worker = stack.worker_with(&[("HOLDFAST_ACCESS_SECRET_FILE", &secrets.path())]);
    let (role, url) = account(&stack.database_url).await;
    let directory = tempfile::tempdir().expect("a directory");
    let gate = [
        ("DATABASE_URL", url.as_str()),
        ("HOLDFAST_HTTP_LISTEN", "off"),
        ("HOLDFAST_GATE_SERVER", SERVER),
        ("HOLDFAST_GATE_ADAPTER", "icecast"),
        ("HOLDFAST_GATE_CONTROL_URL", &icecast.control),
        ("HOLDFAST_GATE_LISTEN", &format!("127.0.0.1:{hooks}")),
        ("HOLDFAST_GATE_NAME", "gate-1"),
    ];
    let gate = Worker::start_gate(&gate, directory.path().join("gate.log"));
    gate.logged("the plan is loaded").await;

    let booked = terminal.accepted(&server, window(4, 12)).await;
    let Notice::Confirmed { reservation, .. } = terminal.notice_about(booked.id).await else {
        panic!("not confirmed")
    };
    let key = reservation.connection.and_then(|it| it.key).expect("a key");
    let name = booked.id.to_string();
    let connect = async |key: &str| Source::connect(&icecast, &name, key).await;
    assert_eq!(connect("hfk_another").await.err(), Some(401), "a stranger");
    let source = facts::found("it is let in", async || connect(key.reveal()).await.ok()).await;
    source.end().await;
    let over = "select clock_timestamp() >= end_at from reservations where id = $1";
    assert!(stack.ask::<bool>(over, &[&booked.id]).await, "not before the end");
    assert_eq!(connect(key.reveal()).await.err(), Some(401), "it stays out");

    let recorded = "select count(*) from access_use where reservation_id = $1 and ended = 'over'";
    facts::until("the use is recorded", async || {
        stack.ask::<i64>(recorded, &[&booked.id]).await == 1
    })
    .await;
    // Now, instead of a minute after the end.
    stack.execute("update access set close_at = now()", &[]).await;
    let told = "select note from history where reservation_id = $1 and reason = 'used'";
    let used = facts::found("the history tells", async || {
        stack.db.query_opt(told, &[&booked.id]).await.expect("a note").map(|row| row.get(0))
    });
    let used: String = used.await;
    let seconds: i32 = used.split(' ').next().and_then(|n| n.parse().ok()).expect("seconds");
    assert!((1..=12).contains(&seconds), "{used}");
    for log in [worker.log(), gate.log(), icecast.logs()] {
        assert!(!log.contains(PREFIX), "a key in a log: {log}");
    }
    assert!(worker.stop().await.success());
    drop(gate);
    stack.execute(&format!("drop owned by {role}"), &[]).await;
    stack.execute(&format!("drop role {role}"), &[]).await;
    stack.finish().await;
}
