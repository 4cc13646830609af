//! A worker crashes between any two steps: the answers stay the same, with one charge and one
//! event.

use std::collections::BTreeSet;

use holdfast::broker::topology::{BILLING_QUEUE, DEAD, EVENTS_EXCHANGE, partition_queue};
use holdfast::client::Command;
use holdfast::message::answer::Answer;
use lapin::types::FieldTable;

use crate::support::stack::Stack;
use crate::support::terminal::{code, new_id, window};
use crate::support::{engines, facts};

/// Failpoints with which a worker crashes the first time it reaches `point`.
fn killed_at(point: &str) -> String {
    format!("{point}=1*return")
}

/// The crashed batch holds a request to accept and one to refuse, a reconfirmation and a
/// withdrawal.
async fn commands_survive(point: &str) {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[("capacity", &3)]).await;
    let wanted = window(7_200, 600);
    let mut clean = stack.worker();
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(terminal.accepted(&server, wanted).await.id);
    }
    assert!(clean.stop().await.success());

    let commands = [
        Command::request(new_id(), "cam", wanted.0, wanted.1),
        Command::request(new_id(), "cam", wanted.0, wanted.1),
        Command::reconfirm(new_id(), "cam", held[0]),
        Command::withdraw(new_id(), "cam", held[1]),
    ];
    terminal.client.send_all(&commands).await.expect("sent");
    let failpoints = killed_at(point);
    let mut crashing = stack.worker_with(&[("FAILPOINTS", failpoints.as_str())]);
    assert!(!crashing.ended().await.success(), "it reached {point}");
    let _worker = stack.worker();
    let expected =
        ["reservation.accepted", "refused", "reservation.reconfirmed", "reservation.withdrawn"];
    for (command, expected) in commands.iter().zip(expected) {
        let answer = terminal.reply_to(&command.message_id).await.answer().expect("an answer");
        match code(&answer) {
            Some(code) => assert_eq!((expected, code), ("refused", "capacity_exceeded")),
            None => assert_eq!(answer.type_name(), expected),
        }
    }
    // Every answer to a repeated command has the same bytes.
    terminal.client.send_all(&commands).await.expect("sent");
    for command in &commands {
        terminal.nth_reply_to(&command.message_id, 2).await;
        let mut bodies: Vec<Vec<u8>> =
            terminal.answers_to(&command.message_id).into_iter().map(|reply| reply.body).collect();
        bodies.dedup();
        assert_eq!(bodies.len(), 1, "one answer, byte for byte");
    }
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

/// The queue of somebody who wants all events.
const SUBSCRIBER: &str = "subscriber";

async fn subscribe(stack: &Stack) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let none = FieldTable::default;
    let declared = channel.queue_declare(SUBSCRIBER.into(), Default::default(), none());
    declared.await.expect("a queue");
    let (queue, exchange) = (SUBSCRIBER.into(), EVENTS_EXCHANGE.into());
    let bound = channel.queue_bind(queue, exchange, "#".into(), Default::default(), none());
    bound.await.expect("bound");
}

/// The crashed batch settles two reservations: it confirms one and cancels the other.
async fn settlement_survives(point: &str) {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[("capacity", &2)]).await;
    let mut clean = stack.worker();
    let wanted = window(68, 600);
    let kept = terminal.accepted(&server, wanted).await;
    let left = terminal.accepted(&server, wanted).await;
    terminal.reconfirm(&server, kept.id).await;
    assert!(clean.stop().await.success());

    subscribe(&stack).await;
    let failpoints = killed_at(point);
    let mut crashing = stack.worker_with(&[("FAILPOINTS", failpoints.as_str())]);
    assert!(!crashing.ended().await.success(), "it reached {point}");
    let _worker = stack.worker();
    stack.until_state(kept.id, "confirmed").await;
    stack.until_state(left.id, "cancelled").await;
    terminal.notice_about(kept.id).await;
    terminal.notice_about(left.id).await;
    stack.outbox_empty().await;

    let charges: i64 = stack.ask("select count(*) from billing_entries", &[]).await;
    assert_eq!(charges, 1);
    let events = stack.drain(BILLING_QUEUE).await;
    let mut bodies: Vec<Vec<u8>> = events.into_iter().map(|event| event.data).collect();
    assert!(!bodies.is_empty());
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "one event, however often it is published");
    let events = stack.drain(SUBSCRIBER).await;
    let bodies: BTreeSet<Vec<u8>> = events.into_iter().map(|event| event.data).collect();
    assert_eq!(bodies.len(), 2, "a confirmation and a cancellation for subscribers");
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

macro_rules! killed {
    ($survive:ident: $($name:ident $point:literal),* $(,)?) => {
        killed!($survive in $survive: $($name $point),*);
    };
    ($survive:ident in $module:ident: $($name:ident $point:literal),* $(,)?) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$survive($point).await;
            })*
        }
    };
}

killed!(commands_survive:
    when_delivered "delivered",
    when_decoded "decoded",
    when_loaded "loaded",
    when_saved "saved",
    when_committed "committed",
    before_publishing "publishing",
    when_confirmed "confirmed",
    when_acknowledged "acknowledged",
);

killed!(settlement_survives:
    when_delivered "delivered",
    when_decoded "decoded",
    when_loaded "loaded",
    when_saved "saved",
    when_committed "committed",
    before_publishing "publishing",
    when_confirmed "confirmed",
    when_the_outbox_is_published "outbox-published",
    when_copies_are_claimed "copies-claimed",
    when_copies_are_published "copies-confirmed",
    when_acknowledged "acknowledged",
);

// The relay publishes events that the worker which decided them did not.
killed!(settlement_survives in relay_survives:
    when_the_relay_has_claimed "outbox-left=return;relay-claimed",
    when_the_relay_has_published "outbox-left=return;relay-confirmed",
    when_the_relay_has_deleted "outbox-left=return;relay-deleted",
);

/// A task that panics takes its session with it. The worker begins another and decides the message.
async fn a_panic_costs_one_session(point: &str) {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    let failpoints = format!("{point}=1*panic");
    let mut worker = stack.worker_with(&[("FAILPOINTS", failpoints.as_str())]);
    let held = terminal.accepted(&server, window(68, 600)).await;
    stack.until_state(held.id, "cancelled").await;
    terminal.notice_about(held.id).await;
    worker.logged("broker session ended").await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_goes_on_after_a_panic() {
    a_panic_costs_one_session("loaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_goes_on_after_a_panic() {
    a_panic_costs_one_session("outbox-left=return;relay-claimed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_crashes_its_worker_is_parked_alone() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    stack.server("cam", &[("capacity", &100)]).await;
    let wanted = window(7_200, 600);
    let mut commands: Vec<Command> =
        (0..20).map(|_| Command::request(new_id(), "cam", wanted.0, wanted.1)).collect();
    commands[7].message_id = format!("poison-{}", new_id());
    terminal.client.send_all(&commands).await.expect("sent");
    // Each worker crashes on it, until the message was processed alone often enough.
    let mut crashes = 0;
    let mut worker = stack.worker_with(&[("FAILPOINTS", "poison=return")]);
    facts::until("everything is answered", async || {
        if !worker.runs() {
            crashes += 1;
            worker = stack.worker_with(&[("FAILPOINTS", "poison=return")]);
        }
        commands.iter().all(|command| !terminal.answers_to(&command.message_id).is_empty())
    })
    .await;
    assert!(crashes > 0, "it does crash a worker");
    let answers = terminal.first_answers();
    for (index, command) in commands.iter().enumerate() {
        let answer = &answers[&command.message_id];
        match index {
            7 => assert_eq!(code(answer), Some("internal_error")),
            _ => assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}"),
        }
    }
    facts::until("it is a dead letter", async || stack.depth(DEAD).await.0 == 1).await;
    stack.finish().await;
}

/// A worker repeatedly loses its broker connection while it holds the same message. The worker
/// survives, so the message is not poison.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_worker_survives_is_not_poison() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    stack.server("cam", &[]).await;
    let account = engines::create_account(&stack.named("lonely"), &stack.vhost).await;
    let url = engines::amqp_url(account.account(), account.password(), &stack.vhost);
    let _worker = stack.worker_with(&[("AMQP_URL", url.as_str())]);
    let mut holder = hold_server(&stack).await;
    let wanted = window(7_200, 600);
    let command = Command::request(new_id(), "cam", wanted.0, wanted.1);
    terminal.client.send_all(std::slice::from_ref(&command)).await.expect("sent");
    for interruptions in 0..4 {
        until_waiting(&stack, 1).await;
        // The first two deliveries are not counted.
        let attempts: i64 =
            stack.ask("select coalesce(sum(attempts), 0) from delivery_attempts", &[]).await;
        assert_eq!(attempts, i64::from(interruptions >= 2), "{interruptions}");
        engines::close_connections_of(account.account()).await;
        let queue = partition_queue(0);
        facts::until("it is lost", async || stack.depth(&queue).await.1 == 0).await;
        // The next attempt must wait too.
        let (next, ()) = tokio::join!(hold_server(&stack), async {
            until_waiting(&stack, 2).await;
            holder.batch_execute("rollback").await.expect("released");
        });
        holder = next;
    }
    until_waiting(&stack, 1).await;
    holder.batch_execute("rollback").await.expect("released");
    let answer = terminal.reply_to(&command.message_id).await.answer();
    assert!(matches!(answer, Ok(Answer::Accepted { .. })), "{answer:?}");
    facts::until("its attempts are forgotten", async || {
        stack.ask::<i64>("select count(*) from delivery_attempts", &[]).await == 0
    })
    .await;
    stack.finish().await;
    engines::drop_account(account.account()).await;
}

/// A session that locks the server, so that every decision about it waits.
async fn hold_server(stack: &Stack) -> tokio_postgres::Client {
    let session = engines::connect(&stack.database_url).await;
    let hold = "begin; select from servers for no key update";
    session.batch_execute(hold).await.expect("locked");
    session
}

async fn until_waiting(stack: &Stack, sessions: i64) {
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    facts::until("sessions wait", async || stack.ask::<i64>(waiting, &[]).await == sessions).await;
}
