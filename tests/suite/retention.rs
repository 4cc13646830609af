//! Retention: pruning deletes what is old, in bounded steps, and nothing else.

use holdfast::client::Command;
use holdfast::message::answer::Answer;
use holdfast::store::pool;
use holdfast::store::retention::{self, Step};

use crate::support::database::CLEAR;
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{new_id, window};

/// Reservations that ended `days` ago, with their requests, history, bills and events. Every other one was
/// cancelled.
async fn past(stack: &Stack, terminal: &str, count: i32, days: i32) {
    let made = "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition,
            start_at, end_at, busy_until, deadline_at, state, cancel_reason, price_minor, currency,
            tariff_version, held_at, settled_at)
        select overlay(oldest_id_of(at - interval '2 days')::text placing right(gen_random_uuid()::text, 12) from 25)::uuid,
            $1, 'past-' || $3 || '-' || n, 'ann', 'cam', 0, at, at + interval '1 s', at + interval '1 s', at,
            case n % 2 when 0 then 'confirmed' else 'cancelled' end,
            case n % 2 when 1 then 'withdrawn' end, 1, 'EUR', 1, at - interval '2 days', at
        from generate_series(1, $2::int) n
        cross join lateral (select date_trunc('second', now()) - make_interval(days => $3::int, secs => 2 * n) as at) t";
    stack.execute(made, &[&terminal, &count, &days]).await;
    for statement in [
        "insert into processed_commands select terminal_id, message_id, 'request', '', 'accepted', '', '', 'cam',
             id, 0, held_at from reservations where message_id like 'past-' || $1 || '-%' on conflict do nothing",
        "insert into history select 1, id, null, 'held', null, 'terminal', terminal_id, 'command',
             message_id, null, 'cam', held_at from reservations where message_id like 'past-' || $1 || '-%'",
        "insert into history select 2, id, 'held', state, cancel_reason, 'terminal', terminal_id, 'command',
             message_id, null, 'cam', settled_at from reservations where message_id like 'past-' || $1 || '-%'",
        "insert into billing_entries select gen_random_uuid(), 'charge', id, null, 'ann', 'cam', 1, 1, 'EUR',
             settled_at from reservations where state = 'confirmed' and message_id like 'past-' || $1 || '-%'",
    ] {
        stack.execute(statement, &[&days.to_string()]).await;
    }
    let told = "insert into outbox_messages select id, 'event', 'reservation.confirmed', 'x', true,
            json_build_object('subject', reservation_id), created_at
        from billing_entries on conflict do nothing";
    stack.execute(told, &[]).await;
}

async fn count(stack: &Stack, table: &str) -> i64 {
    stack.ask(&format!("select count(*) from {table}"), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_forgotten_and_nothing_else() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let server = "cam".parse().expect("an id");
    let id = terminal.id().to_owned();
    past(&stack, &id, 10, 35).await; // answers go, reservations stay
    past(&stack, &id, 10, 401).await; // both go
    let waiting = "insert into outbox (outbox_message_id, retry_at) select id, 'infinity' from outbox_messages order by created_at limit 1";
    stack.execute(waiting, &[]).await;
    let _worker = stack.worker();
    facts::until("the old reservations are gone", async || {
        count(&stack, "reservations").await == 10
    })
    .await;
    assert_eq!(count(&stack, "processed_commands").await, 0);
    assert_eq!(count(&stack, "history").await, 40, "history is never forgotten");
    assert_eq!(count(&stack, "billing_entries").await, 10, "nor are bills");
    assert_eq!(count(&stack, "outbox_messages").await, 6, "what is not told yet waits");
    // A live one remains, however often steps run.
    let held = terminal.accepted(&server, window(7_200, 600)).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    assert_eq!(retention::step(&pool).await.expect("a step"), Step::default());
    assert_eq!(stack.state(held.id).await, "held");
    stack.execute("delete from outbox", &[]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_bounded_and_one_replica_takes_it() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &2)]).await;
    let terminal = stack.terminal("ann").await;
    past(&stack, terminal.id(), 1_500, 500).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 2);
    let mut other = pool.get().await.expect("a connection");
    let busy = other.transaction().await.expect("a transaction");
    let lock = include_str!("../../src/store/sql/lock_retention.sql");
    busy.execute(lock, &[]).await.expect("locked");
    assert_eq!(retention::step(&pool).await.expect("a step"), Step::default());
    busy.rollback().await.expect("given back");
    // Of 1 500 answers, 750 events and 1 500 reservations, at most a thousand each.
    let first = retention::step(&pool).await.expect("a step");
    assert_eq!(first, Step { deleted: 2_750, more: true });
    let second = retention::step(&pool).await.expect("a step");
    assert_eq!(second, Step { deleted: 1_000, more: false });
    stack.finish().await;
}

/// Once its answer is pruned, after the documented time, a message id is free again.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_id_is_decided_anew() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let (start, end) = window(7_200, 600);
    let command = Command::request(new_id(), server.as_str(), start, end);
    assert!(matches!(terminal.ask(&command).await, Answer::Accepted { .. }));
    stack
        .execute("update processed_commands set decided_at = now() - interval '31 days'", &[])
        .await;
    stack.execute("update reservations set held_at = now() - interval '31 days'", &[]).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    assert_eq!(retention::step(&pool).await.expect("a step").deleted, 1);
    terminal.client.send(&command).await.expect("sent");
    let again = terminal.nth_reply_to(&command.message_id, 2).await.answer().expect("an answer");
    assert!(
        matches!(again, Answer::Refused { .. }),
        "its own reservation is in the way: {again:?}"
    );
    // The changed dates leave rows that no command could have made.
    stack.db.batch_execute(CLEAR).await.expect("cleared");
    stack.finish().await;
}
