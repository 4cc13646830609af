//! Retention: pruning deletes what is old, in bounded steps, and nothing else; a clock that jumps deletes
//! nothing.

use std::time::Duration;

use holdfast::client::Command;
use holdfast::message::answer::Answer;
use holdfast::store::pool;
use holdfast::store::retention::{self, Step};

use tokio_postgres::error::SqlState;

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
        "insert into billing_entries select gen_random_uuid(), 'charge', id, null, 'ann', 'cam', 1, 1, 'EUR', 1,
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
    let mut worker = stack.worker();
    let (start, end) = window(7_200, 600);
    let command = Command::request(new_id(), server.as_str(), start, end);
    assert!(matches!(terminal.ask(&command).await, Answer::Accepted { .. }));
    // It prunes, too, and one does at a time.
    assert!(worker.stop().await.success());
    stack
        .execute("update processed_commands set decided_at = now() - interval '31 days'", &[])
        .await;
    stack.execute("update reservations set held_at = now() - interval '31 days'", &[]).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    assert_eq!(retention::step(&pool).await.expect("a step").deleted, 1);
    let _worker = stack.worker();
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

/// Sets retention's clock so many days before the database's, as if the latter had been set ahead since its
/// last round.
async fn jumped(stack: &Stack, days: i32) {
    let jump = "update timekeeping set believed_at = now() - make_interval(days => $1),
        read_at = now() - make_interval(days => $1)";
    stack.execute(jump, &[&days]).await;
}

/// Seconds by which the database's clock is ahead of retention's.
async fn ahead(stack: &Stack) -> f64 {
    let ahead =
        "select extract(epoch from clock_timestamp() - believed_at)::float8 from timekeeping";
    stack.ask(ahead, &[]).await
}

const DAY: f64 = 86_400.0;

/// Twenty reservations that lay in the future, half of them confirmed and billed, and their answers: the clock
/// jumps 500 days ahead, and by it all have ended long ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ahead_deletes_nothing() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &2)]).await;
    let terminal = stack.terminal("ann").await;
    past(&stack, terminal.id(), 20, 410).await;
    let attempt = "insert into delivery_attempts values (0, 'x', 1, now() - interval '10 days')";
    stack.execute(attempt, &[]).await;
    jumped(&stack, 500).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    for round in 1..=3 {
        retention::advance(&pool, Duration::from_secs(60)).await.expect("a round");
        assert_eq!(retention::step(&pool).await.expect("a step"), Step::default(), "{round}");
    }
    // The first round went twice its minute, the others hardly any: the clock stood still.
    let went = 500.0 * DAY - ahead(&stack).await;
    assert!((100.0..=180.0).contains(&went), "{went}");
    let by_hand = stack.db.execute("delete from reservations where state = 'confirmed'", &[]).await;
    let refused = by_hand.expect_err("not over");
    assert_eq!(refused.code().map(SqlState::code), Some("ZR003"));
    assert_eq!(count(&stack, "reservations").await, 20);
    assert_eq!(count(&stack, "processed_commands").await, 20);
    assert_eq!(count(&stack, "delivery_attempts").await, 1);
    // A worker's rounds delete nothing either. An operator who has looked at the clock decides otherwise.
    stack.operate(&[], "policy believe-clock", 0).await;
    assert_eq!(retention::step(&pool).await.expect("a step").deleted, 51);
    stack.finish().await;
}

/// After weeks without a worker, retention catches up at twice the pace of time.
#[tokio::test(flavor = "multi_thread")]
async fn retention_catches_up_slowly() {
    let stack = Stack::new().await;
    let off = "update timekeeping set believed_at = now() - interval '21 days', read_at = now() - interval '1 min'";
    stack.execute(off, &[]).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    let ahead_by = retention::advance(&pool, Duration::from_secs(3_600)).await.expect("a round");
    let went = 21.0 * DAY - ahead(&stack).await;
    assert!((100.0..=180.0).contains(&went), "no more than the clock's own minute, twice: {went}");
    assert!(ahead_by > 20.0 * DAY, "{ahead_by}");
    stack.finish().await;
}

/// A server that starts with an old date moves retention's clock only after a day.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_is_followed_after_a_day() {
    let stack = Stack::new().await;
    let back = "update timekeeping set believed_at = now() + interval '500 days', read_at = now() - interval '1 min'";
    stack.execute(back, &[]).await;
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    let minute = Duration::from_secs(60);
    assert!(retention::advance(&pool, minute).await.expect("a round") < -499.0 * DAY);
    let gone: bool = stack.ask("select retention_time() <= now()", &[]).await;
    assert!(gone, "meanwhile the earlier of both counts");
    let later = "update timekeeping set behind_seconds = 86399, read_at = now() - interval '1 min'";
    stack.execute(later, &[]).await;
    retention::advance(&pool, minute).await.expect("a round");
    assert!(ahead(&stack).await.abs() < 60.0);
    stack.finish().await;
}

/// What was postponed while the clock was ahead is published once it is right.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_waits_for_a_time_that_was_wrong() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &2)]).await;
    let terminal = stack.terminal("ann").await;
    past(&stack, terminal.id(), 2, 35).await;
    let postponed = "insert into outbox (outbox_message_id, retry_at)
        select id, now() + interval '500 days' from outbox_messages";
    assert_eq!(stack.execute(postponed, &[]).await, 1);
    // Nobody reads it.
    stack.execute("update outbox_messages set must_route = false", &[]).await;
    let _worker = stack.worker();
    stack.outbox_empty().await;
    stack.finish().await;
}
