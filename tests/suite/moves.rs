//! A server moves to another partition while its commands come in: each is decided once, in the order in
//! which the broker took it, and no deadline runs ahead of a reconfirmation.

use std::time::Duration;

use holdfast::broker::publisher::Fate;
use holdfast::broker::routes::{self, Route};
use holdfast::broker::topology::{DEAD, partition_queue};
use holdfast::client::Command;
use holdfast::domain::id::ServerId;
use holdfast::engine::moves::advance;
use holdfast::message::answer::Answer;
use holdfast::store::admin::moves::{Phase, insert_moves, list_moves, update_phase};
use serde_json::Value;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id, window};

async fn partition_of(stack: &Stack, server: &str) -> i32 {
    stack.ask("select partition from servers where id = $1", &[&server]).await
}

async fn open_moves(stack: &Stack) -> i64 {
    stack.ask("select count(*) from moves", &[]).await
}

async fn until_moved(stack: &Stack, server: &str, partition: i32) {
    facts::until("the server has moved", async || {
        open_moves(stack).await == 0 && partition_of(stack, server).await == partition
    })
    .await;
}

/// A server of partition 0 with room for `capacity`.
async fn server(stack: &Stack, id: &str, capacity: i32) -> ServerId {
    stack.server(id, &[("capacity", &capacity)]).await
}

/// Requests with ids in the order in which they are sent.
fn numbered(server: &str, from: usize, count: usize) -> Vec<Command> {
    let (start, end) = window(86_400, 60);
    (from..from + count)
        .map(|n| Command::request(format!("n-{n:06}"), server, start, end))
        .collect()
}

/// The ids of decided commands in the order of decision.
async fn decided(stack: &Stack, server: &str) -> Vec<String> {
    let query = "select message_id from processed_commands
                 where server_id = $1 and message_id like 'n-%' order by seq";
    let rows = stack.db.query(query, &[&server]).await.expect("commands");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Sends commands in small batches until `stop`, all confirmed. Returns how many.
async fn stream(terminal: &mut Terminal, server: &str, stop: &tokio::sync::Notify) -> usize {
    let mut sent = 0;
    loop {
        let batch = numbered(server, sent, 5);
        let fates = terminal.client.send_all(&batch).await.expect("sent");
        assert_eq!(fates, [Fate::Routed; 5], "nothing is returned or refused by the broker");
        sent += 5;
        tokio::select! {
            () = stop.notified() => return sent,
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}

/// Whether it was refused without a decision.
fn is_undecided(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { decided_at: None, .. })
}

/// Every command has one decision, in order, and every answer to it has the same bytes.
async fn assert_in_order(stack: &Stack, terminal: &Terminal, server: &str, sent: usize) {
    let ids: Vec<String> = (0..sent).map(|n| format!("n-{n:06}")).collect();
    for id in &ids {
        let answer = terminal.reply_to(id).await.answer().expect("an answer");
        assert!(!is_undecided(&answer), "{id} of {sent}: {answer:?}");
    }
    assert_eq!(decided(stack, server).await, ids);
    for id in &ids {
        let mut bodies: Vec<Vec<u8>> =
            terminal.answers_to(id).into_iter().map(|reply| reply.body).collect();
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "{id}");
    }
    assert!(stack.drain(DEAD).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_decided_in_order_while_their_server_moves_to_and_fro() {
    let mut stack = Stack::with_partitions(3).await;
    server(&stack, "cam", 10).await;
    let mut terminal = stack.terminal("ann").await;
    let _workers = [stack.worker(), stack.worker()];
    let stop = tokio::sync::Notify::new();
    let moves = async {
        for to in [1, 2, 0, 1, 0] {
            let run = stack.operate(&[], &format!("server move cam --partition {to}"), 0).await;
            assert!(run.stdout.contains(&format!("to {to}")), "{run:?}");
            assert_eq!(partition_of(&stack, "cam").await, to);
        }
        stop.notify_one();
    };
    let (sent, ()) = tokio::join!(stream(&mut terminal, "cam", &stop), moves);
    assert_in_order(&stack, &terminal, "cam", sent).await;
    stack.operate(&[], "topology verify", 0).await;
    stack.finish().await;
}

/// The operator's command is killed at each of its steps. Commands go on being decided in order, and
/// another command takes the move up. What no queue has alone is never refused.
async fn survives_a_kill_at(point: &str) {
    let mut stack = Stack::with_partitions(2).await;
    server(&stack, "cam", 10).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let stop = tokio::sync::Notify::new();
    let failpoints = format!("{point}=return");
    let moves = async {
        let environment = stack.operator_environment();
        let mut environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        environment.push(("FAILPOINTS", &failpoints));
        let mut command = crate::support::program::command(
            &environment,
            &["server", "move", "cam", "--partition", "1"],
        );
        let status = command.status().await.expect("it runs");
        assert_eq!(status.code(), None, "it is killed at {point}");
        stack.operate(&[], "topology apply", 0).await;
        stop.notify_one();
    };
    let (sent, ()) = tokio::join!(stream(&mut terminal, "cam", &stop), moves);
    until_moved(&stack, "cam", 1).await;
    assert_in_order(&stack, &terminal, "cam", sent).await;
    stack.operate(&[], "topology verify", 0).await;
    stack.finish().await;
}

macro_rules! killed {
    ($($name:ident $point:literal),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            survives_a_kill_at($point).await;
        })*
    };
}

killed!(
    killed_when_it_is_recorded "move-begun",
    killed_when_it_is_bound "move-bound",
    killed_when_the_second_phase_is_recorded "move-unbinding",
    killed_when_it_is_unbound "move-unbound",
    killed_when_workers_take_over "move-fencing",
);

/// The worker that reads the fence dies before or after its transaction.
async fn survives_the_workers_death_at(point: &str) {
    let mut stack = Stack::with_partitions(2).await;
    server(&stack, "cam", 10).await;
    let mut terminal = stack.terminal("ann").await;
    let failpoints = format!("{point}=1*return");
    let wanted: [(ServerId, i32); 1] = [("cam".parse().expect("an id"), 1)];
    assert_eq!(insert_moves(&stack.db, &wanted).await.expect("begun").len(), 1);
    advance(&stack.db, &stack.amqp).await.expect("advanced");
    let sent = numbered("cam", 0, 20);
    terminal.client.send_all(&sent).await.expect("sent");
    let mut crashing = stack.worker_with(&[("FAILPOINTS", failpoints.as_str())]);
    assert!(!crashing.ended().await.success(), "it reached {point}");
    let _worker = stack.worker();
    until_moved(&stack, "cam", 1).await;
    assert_in_order(&stack, &terminal, "cam", 20).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_dies_with_the_fence_in_hand() {
    survives_the_workers_death_at("saved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_dies_with_the_server_moved() {
    survives_the_workers_death_at("committed").await;
}

/// The operator is gone for good after the second phase: workers carry the move through.
#[tokio::test(flavor = "multi_thread")]
async fn workers_end_a_move_that_lost_its_operator() {
    let mut stack = Stack::with_partitions(2).await;
    server(&stack, "cam", 10).await;
    let mut terminal = stack.terminal("ann").await;
    let wanted: [(ServerId, i32); 1] = [("cam".parse().expect("an id"), 1)];
    insert_moves(&stack.db, &wanted).await.expect("begun");
    let route = |partition| Route { server: "cam".to_owned(), partition };
    routes::bind(&stack.amqp, &[route(1)]).await.expect("bound");
    update_phase(&stack.db, Phase::Binding, Phase::Unbinding).await.expect("recorded");
    // Long ago, as far as the workers can see.
    stack.execute("update moves set phase_at = phase_at - interval '1 hour'", &[]).await;
    let commands = numbered("cam", 0, 5);
    terminal.client.send_all(&commands).await.expect("sent");
    let _worker = stack.worker();
    until_moved(&stack, "cam", 1).await;
    for command in &commands {
        // Decided from the old queue, before the fence, and answered alike from the new one.
        let answer = terminal.reply_to(&command.message_id).await.answer().expect("an answer");
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
    // The old binding is still there: what comes through it can be sent again, and is decided.
    let last = numbered("cam", 5, 1);
    terminal.client.send_all(&last).await.expect("sent");
    facts::until("it is decided", async || decided(&stack, "cam").await.len() == 6).await;
    stack.operate(&[], "topology verify", 3).await;
    stack.operate(&[], "topology apply", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    stack.finish().await;
}

/// Between the second phase and the fence, a reconfirmation may stand in the new queue alone while the
/// deadline's wake-up stands in the old one. It counts all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_inside_a_move_waits_for_the_reconfirmation() {
    let mut stack = Stack::with_partitions(2).await;
    let cam = server(&stack, "cam", 10).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let kept = terminal.accepted(&cam, window(66, 600)).await;
    let left = terminal.accepted(&cam, window(66, 600)).await;
    let later = terminal.accepted(&cam, window(86_400, 600)).await;
    assert!(worker.stop().await.success());

    let wanted: [(ServerId, i32); 1] = [("cam".parse().expect("an id"), 1)];
    insert_moves(&stack.db, &wanted).await.expect("begun");
    advance(&stack.db, &stack.amqp).await.expect("advanced");
    // The broker has it before the deadline, in the new queue.
    let reconfirm = Command::reconfirm(new_id(), "cam", kept.id);
    terminal.client.send(&reconfirm).await.expect("sent");
    let passed = "select clock_timestamp() < deadline_at from reservations where id = $1";
    assert!(stack.ask::<bool>(passed, &[&kept.id]).await, "sent in time");
    let old = partition_queue(0);
    facts::until("the deadline's wake-up is read next", async || stack.depth(&old).await.0 > 0)
        .await;
    assert!(!stack.ask::<bool>(passed, &[&kept.id]).await);

    let _worker = stack.worker();
    let answer = terminal.reply_to(&reconfirm.message_id).await.answer().expect("an answer");
    assert!(matches!(answer, Answer::Reconfirmed { .. }), "{answer:?}");
    stack.until_state(kept.id, "confirmed").await;
    stack.until_state(left.id, "cancelled").await;
    assert_eq!(partition_of(&stack, "cam").await, 1);
    let moved = "select partition from reservations where id = $1";
    assert_eq!(stack.ask::<i32>(moved, &[&later.id]).await, 1);
    let timers = "select count(*) from timers where partition = 1 and scheduled_until is not null";
    facts::until("its wake-up goes to the new partition", async || {
        stack.ask::<i64>(timers, &[]).await == 1
    })
    .await;
    stack.finish().await;
}

/// The new partition waits for the fence; what it has before the moving server's first command is decided.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_waits_for_a_server_on_its_way() {
    let mut stack = Stack::with_partitions(2).await;
    server(&stack, "cam", 10).await;
    let other = server(&stack, "other", 10).await;
    assert_eq!((partition_of(&stack, "cam").await, partition_of(&stack, "other").await), (0, 1));
    let mut terminal = stack.terminal("ann").await;
    let wanted: [(ServerId, i32); 1] = [("cam".parse().expect("an id"), 1)];
    insert_moves(&stack.db, &wanted).await.expect("begun");
    // No worker publishes a fence in this phase.
    let route = |partition| Route { server: "cam".to_owned(), partition };
    routes::bind(&stack.amqp, &[route(1)]).await.expect("bound");
    update_phase(&stack.db, Phase::Binding, Phase::Unbinding).await.expect("recorded");
    routes::unbind(&stack.amqp, &[route(0)]).await.expect("unbound");
    let mut worker = stack.worker();
    let before = terminal.request(&other, window(86_400, 60)).await;
    assert!(matches!(before, Answer::Accepted { .. }));
    let early = numbered("cam", 0, 1);
    let behind = Command::request(new_id(), "other", window(86_400, 60).0, window(86_400, 60).1);
    terminal.client.send_all(&early).await.expect("sent");
    terminal.client.send(&behind).await.expect("sent");
    worker.logged("waiting for a server that moves here").await;
    assert!(terminal.answers_to(&behind.message_id).is_empty(), "order is kept");
    // Stopped meanwhile, it gives everything back in order.
    assert!(worker.stop().await.success());
    advance(&stack.db, &stack.amqp).await.expect("advanced");
    let _worker = stack.worker();
    terminal.reply_to(&behind.message_id).await;
    until_moved(&stack, "cam", 1).await;
    assert_in_order(&stack, &terminal, "cam", 1).await;
    stack.finish().await;
}

/// Two partitions must not wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn no_partition_is_left_and_entered_at_a_time() {
    let stack = Stack::with_partitions(3).await;
    for id in ["a", "b", "c"] {
        server(&stack, id, 1).await;
    }
    let wanted = |moves: &[(&str, i32)]| -> Vec<(ServerId, i32)> {
        moves.iter().map(|(id, to)| (id.parse().expect("an id"), *to)).collect()
    };
    // Nowhere, already there, unknown, and each other's places.
    for refused in [&[("a", 7)][..], &[("a", 0)], &[("z", 1)], &[("a", 1), ("b", 0)]] {
        let begun = insert_moves(&stack.db, &wanted(refused)).await.expect("asked");
        assert_eq!(begun, [], "{refused:?}");
    }
    assert_eq!(insert_moves(&stack.db, &wanted(&[("a", 1)])).await.expect("begun").len(), 1);
    for refused in [("a", 2), ("b", 2), ("c", 0)] {
        let begun = insert_moves(&stack.db, &wanted(&[refused])).await.expect("asked");
        assert_eq!(begun, [], "{refused:?}");
    }
    assert_eq!(insert_moves(&stack.db, &wanted(&[("c", 1)])).await.expect("begun").len(), 1);
    assert_eq!(list_moves(&stack.db).await.expect("moves").len(), 2);
    stack.finish().await;
}

/// With too long a backlog the new partition would wait for too long.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_behind_a_long_backlog_is_refused() {
    let mut stack = Stack::with_partitions(2).await;
    server(&stack, "cam", 10).await;
    let mut terminal = stack.terminal("ann").await;
    for part in numbered("cam", 0, 2_001).chunks(500) {
        terminal.client.send_all(part).await.expect("sent");
    }
    let run = stack.operate(&[], "server move cam --partition 1", 4).await;
    assert!(run.stderr.contains("2001 messages wait"), "{run:?}");
    assert_eq!(open_moves(&stack).await, 0);
    stack.operate(&[], "server move cam --partition 0", 0).await;
    stack.operate(&[], "server move none --partition 1", 4).await;
    stack.operate(&[], "server move cam --partition 2", 4).await;
    stack.finish().await;
}

/// Partitions are added to a running installation, filled, emptied again, and removed.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_come_and_go_while_everything_runs() {
    let mut stack = Stack::with_partitions(1).await;
    for n in 0..6 {
        server(&stack, &format!("s{n}"), 10).await;
    }
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let stop = tokio::sync::Notify::new();
    let operator = async {
        stack.operate(&[], "topology apply --partitions 3", 0).await;
        let plan = stack.operate(&[], "topology rebalance --dry-run --json", 0).await;
        let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
        assert!(!plan.as_array().expect("a list").is_empty(), "{plan}");
        stack.operate(&[], "topology rebalance", 0).await;
        for partition in 0..3 {
            let servers: i64 =
                stack.ask("select count(*) from servers where partition = $1", &[&partition]).await;
            assert!(servers >= 1, "{partition}");
        }
        // One with reservations, whose wake-ups stay when it leaves again.
        stack.operate(&[], "server move s3 --partition 2", 0).await;
        let refused = stack.operate(&[], "topology apply --partitions 2", 4).await;
        assert!(refused.stderr.contains("topology rebalance --partitions 2"), "{refused:?}");
        stack.operate(&[], "topology rebalance --partitions 2", 0).await;
        let servers = "select count(*) from servers where partition = 2";
        assert_eq!(stack.ask::<i64>(servers, &[]).await, 0);
        stop.notify_one();
    };
    let (sent, ()) = tokio::join!(stream(&mut terminal, "s3", &stop), operator);
    assert_in_order(&stack, &terminal, "s3", sent).await;
    let add = "--capacity 4 --rate-minor 1250 --currency EUR --connection-url https://a.example/";
    for n in 0..2 {
        stack.operate(&[], &format!("server add new-{n} {add}"), 0).await;
        assert!(partition_of(&stack, &format!("new-{n}")).await < 2);
    }
    // Wake-ups that are on their way to the emptied partition must find it.
    let refused = stack.operate(&[], "topology apply --partitions 2", 4).await;
    assert!(refused.stderr.contains("wake-ups are on their way"), "{refused:?}");
    stack.execute("delete from timers where partition = 2", &[]).await;
    stack.operate(&[], "topology apply --partitions 2", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    let answer = terminal.request(&"s3".parse().expect("an id"), window(86_400, 60)).await;
    assert_eq!(code(&answer), Some("capacity_exceeded"));
    stack.finish().await;
}
