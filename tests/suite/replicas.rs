//! Workers that share the partitions, leave and die.

use std::time::Instant;

use holdfast::broker::consumer::QueueConsumer;
use holdfast::broker::topology::partition_queue;
use holdfast::client::Command;
use holdfast::message::answer::Answer;
use tokio::task::yield_now;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

/// Enough servers that every one of four partitions has some.
const SERVERS: usize = 40;

async fn with_servers(stack: &Stack) {
    for n in 0..SERVERS {
        stack.server(&format!("cam-{n}"), &[("capacity", &100)]).await;
    }
}

/// Sends a request to every server and waits for all answers.
async fn ask_everywhere(terminal: &mut Terminal) {
    let (start, end) = window(7_200, 600);
    let commands: Vec<Command> =
        (0..SERVERS).map(|n| Command::request(new_id(), &format!("cam-{n}"), start, end)).collect();
    terminal.client.send_all(&commands).await.expect("sent");
    for command in &commands {
        let answer = terminal.reply_to(&command.message_id).await.answer().expect("an answer");
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
}

/// The partitions that each live worker says it consumes.
async fn shares(stack: &Stack) -> Vec<Vec<i32>> {
    let query = "select partitions from workers
        where heartbeat_at > clock_timestamp() - interval '5 s' order by id";
    let rows = stack.db.query(query, &[]).await.expect("workers");
    rows.iter().map(|row| row.get(0)).collect()
}

async fn until_shared(stack: &Stack, expected: &[&[i32]]) {
    facts::until(&format!("shares are {expected:?}"), async || shares(stack).await == expected)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_the_partitions_and_take_over() {
    let mut stack = Stack::with_partitions(4).await;
    with_servers(&stack).await;
    stack.user("ann", Some(1 << 40), Some(1 << 20)).await;
    let mut terminal = stack.terminal("ann").await;
    let mut first = stack.worker();
    until_shared(&stack, &[&[0, 1, 2, 3]]).await;
    let mut second = stack.worker();
    until_shared(&stack, &[&[0, 2], &[1, 3]]).await;
    let _third = stack.worker();
    until_shared(&stack, &[&[0, 3], &[1], &[2]]).await;
    ask_everywhere(&mut terminal).await;

    assert!(second.stop().await.success());
    let left = Instant::now();
    ask_everywhere(&mut terminal).await;
    println!("handed over by a leaving worker: all answered {:?} after it ended", left.elapsed());
    until_shared(&stack, &[&[0, 2], &[1, 3]]).await;

    first.kill();
    let died = Instant::now();
    ask_everywhere(&mut terminal).await;
    println!("taken over from a dead worker: all answered {:?} after its death", died.elapsed());
    until_shared(&stack, &[&[0, 1, 2, 3]]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_leaves_nothing_behind() {
    let mut stack = Stack::with_partitions(4).await;
    with_servers(&stack).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    ask_everywhere(&mut terminal).await;
    assert!(worker.stop().await.success());
    assert!(shares(&stack).await.is_empty(), "its row is gone");
    // The engines notice a moment after the process has ended.
    for partition in 0..4 {
        let queue = partition_queue(partition);
        facts::until("acknowledged and let go", async || stack.depth(&queue).await == (0, 0)).await;
    }
    let sessions = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name like 'holdfast%'";
    facts::until("its sessions are gone", async || stack.ask::<i64>(sessions, &[]).await == 0)
        .await;
    stack.finish().await;
}

/// Consumes for a moment.
async fn visit(stack: &Stack, queue: &str) {
    let consumer = QueueConsumer::open(&stack.amqp, queue, 1).await.expect("a consumer");
    consumer.close().await.expect("let go");
}

/// As when nothing passes for a while: what is asked for in vain may be granted later.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_given_up_holds_no_queue() {
    let stack = Stack::with_partitions(1).await;
    let queue = partition_queue(0);
    let mut enough = 0;
    let counting = async {
        loop {
            enough += 1;
            yield_now().await;
        }
    };
    tokio::select! {
        () = visit(&stack, &queue) => {}
        () = counting => {}
    }
    // Given up at every moment of its beginning.
    for round in 0..200 {
        let patience = async {
            for _ in 0..enough / 4 + enough * round / 200 {
                yield_now().await;
            }
        };
        tokio::select! {
            () = visit(&stack, &queue) => {}
            () = patience => {}
        }
    }
    facts::until("nobody consumes", async || stack.depth(&queue).await.1 == 0).await;
    stack.finish().await;
}
