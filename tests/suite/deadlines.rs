//! Deadlines: the ladder and the sweep, each alone and together, and wake-ups that come early,
//! often, late or for nothing.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{BILLING_QUEUE, DEAD, partition_queue};
use holdfast::domain::id::ServerId;
use holdfast::message::answer::ReservationView;
use holdfast::message::shape::Shape;
use uuid::Uuid;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};
use crate::support::worker::Worker;

/// Seconds from now at which a reservation must start for its deadline to be two or three seconds
/// away: the servers' lead time is a minute.
const SOON: i64 = 63;

/// Waits until the database's clock has passed an instant.
async fn passed(stack: &Stack, at: DateTime<Utc>) {
    facts::until("the deadline has passed", async || {
        stack.ask("select clock_timestamp() > $1", &[&at]).await
    })
    .await;
}

/// Two holds with the same deadline, one of them reconfirmed.
async fn two_holds(stack: &Stack, terminal: &mut Terminal) -> (ReservationView, ReservationView) {
    let server = stack.server("pair", &[("capacity", &2)]).await;
    let wanted = window(SOON, 600);
    let left = terminal.accepted(&server, wanted).await;
    let kept = terminal.accepted(&server, wanted).await;
    terminal.reconfirm(&server, kept.id).await;
    (left, kept)
}

async fn settles(environment: &[(&str, &str)], trigger: &str) {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker_with(environment);
    let (left, kept) = two_holds(&stack, &mut terminal).await;
    stack.until_state(left.id, "cancelled").await;
    stack.until_state(kept.id, "confirmed").await;
    let triggers: Vec<String> = stack
        .db
        .query("select trigger from history where actor = 'deadline'", &[])
        .await
        .expect("the history")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(triggers.len(), 2, "each settled once");
    assert!(trigger.is_empty() || triggers.iter().all(|t| t == trigger), "{triggers:?}");
    stack.outbox_empty().await;
    assert_eq!(stack.drain(BILLING_QUEUE).await.len(), 1);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_alone_settles() {
    settles(&[("HOLDFAST_SWEEP", "off")], "message").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_alone_settles() {
    settles(&[("HOLDFAST_LADDER", "off")], "sweep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ladder_and_sweep_together_settle_once() {
    settles(&[], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_ladder_loses_no_deadline() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    let _worker = stack.worker();
    let held = terminal.accepted(&server, window(SOON + 2, 600)).await;
    let armed = "select count(*) from timers where scheduled_until is not null";
    facts::until("it is armed", async || stack.ask::<i64>(armed, &[]).await == 1).await;
    for level in 0..stack.shape.delay_levels {
        stack.drain(&level_name(level)).await;
    }
    stack.until_state(held.id, "cancelled").await;
    let trigger: String =
        stack.ask("select trigger from history where actor = 'deadline'", &[]).await;
    assert_eq!(trigger, "sweep");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_with_one_deadline_share_one_wake_up() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker_with(&[("HOLDFAST_SWEEP", "off")]);
    let wanted = window(120, 600);
    for id in ["a", "b", "c"] {
        let server = stack.server(id, &[("capacity", &20)]).await;
        for _ in 0..20 {
            terminal.accepted(&server, wanted).await;
        }
    }
    let armed = "select count(*) from timers where scheduled_until is not null";
    facts::until("it is armed", async || stack.ask::<i64>(armed, &[]).await == 1).await;
    let mut on_the_ladder = 0;
    for level in 0..stack.shape.delay_levels {
        on_the_ladder += stack.depth(&level_name(level)).await.0;
    }
    assert_eq!(on_the_ladder, 1, "60 holds, one message");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_wake_up_settles_nothing_and_goes_on() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    let _worker = stack.worker_by_hand().await;
    let held = terminal.accepted(&server, window(3_600, 600)).await;
    stack.wake(held.deadline_at, held.deadline_at).await;
    // Answered after the wake-up was read, since both stand in one queue.
    terminal.show(held.id).await;
    assert_eq!(stack.state(held.id).await, "held");
    stack.finish().await;

    // With the ladder on, an early one takes the rest of the way.
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    let mut unscheduled = stack.worker_by_hand().await;
    let held = terminal.accepted(&server, window(SOON, 600)).await;
    unscheduled.stop().await;
    let _worker = stack.worker_with(&[("HOLDFAST_SWEEP", "off")]);
    stack.wake(held.deadline_at, held.deadline_at).await;
    stack.until_state(held.id, "cancelled").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_and_idle_wake_ups_do_no_harm() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker_by_hand().await;
    let (left, kept) = two_holds(&stack, &mut terminal).await;
    passed(&stack, left.deadline_at).await;
    for _ in 0..3 {
        stack.wake(left.deadline_at, left.deadline_at).await;
    }
    stack.wake(left.deadline_at - TimeDelta::days(1), left.deadline_at).await;
    stack.until_state(left.id, "cancelled").await;
    terminal.show(kept.id).await;
    assert_eq!(stack.state(kept.id).await, "confirmed");
    let rows: i64 = stack.ask("select count(*) from timers", &[]).await;
    assert_eq!(rows, 0, "the instant is finished");
    stack.outbox_empty().await;
    assert_eq!(stack.drain(BILLING_QUEUE).await.len(), 1);
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_wake_up_is_a_dead_letter() {
    let stack = Stack::new().await;
    let _worker = stack.worker_by_hand().await;
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let properties = lapin::BasicProperties::default()
        .with_user_id(stack.broker.account().into())
        .with_type("wake_up".into());
    channel
        .basic_publish("".into(), partition_queue(0).into(), Default::default(), b"{}", properties)
        .await
        .expect("published");
    facts::until("it is dead", async || stack.depth(DEAD).await.0 == 1).await;
    stack.finish().await;
}

/// A hold at a deadline some seconds away, with no worker left running.
async fn held_then_workerless(
    stack: &Stack,
    terminal: &mut Terminal,
    windows: &[(DateTime<Utc>, DateTime<Utc>)],
) -> (ServerId, Vec<ReservationView>) {
    let server = stack.server("cam", &[("capacity", &10)]).await;
    let mut worker = stack.worker_by_hand().await;
    let mut held = Vec::new();
    for window in windows {
        held.push(terminal.accepted(&server, *window).await);
    }
    assert!(worker.stop().await.success());
    (server, held)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_leg_read_after_the_deadline_does_not_settle() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let (server, held) =
        held_then_workerless(&stack, &mut terminal, &[window(SOON, 600), window(SOON, 600)]).await;
    let deadline = held[0].deadline_at;
    stack.wake(deadline, deadline - TimeDelta::milliseconds(1)).await;
    let sent = terminal.client.reconfirm(&server, held[0].id).await.expect("sent");
    passed(&stack, deadline).await;
    let _worker = stack.worker_by_hand().await;
    terminal.reply_to(&sent).await;
    // The fresh wake-up behind the reconfirmation settles both.
    stack.until_state(held[0].id, "confirmed").await;
    stack.until_state(held[1].id, "cancelled").await;
    stack.finish().await;
}

/// The sweep of a clock ahead sees deadlines pass that are yet to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_that_a_clock_ahead_has_sent_does_not_settle() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let (server, held) =
        held_then_workerless(&stack, &mut terminal, &[window(SOON, 600), window(SOON, 600)]).await;
    let deadline = held[0].deadline_at;
    stack.wake(deadline, Utc::now() + TimeDelta::days(500)).await;
    let sent = terminal.client.reconfirm(&server, held[0].id).await.expect("sent");
    passed(&stack, deadline).await;
    let _worker = stack.worker_by_hand().await;
    terminal.reply_to(&sent).await;
    stack.until_state(held[0].id, "confirmed").await;
    stack.until_state(held[1].id, "cancelled").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_settles_only_its_own_instant() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let windows = [window(SOON, 600), window(SOON + 1, 600)];
    let (server, held) = held_then_workerless(&stack, &mut terminal, &windows).await;
    let (first, second) = (&held[0], &held[1]);
    passed(&stack, second.deadline_at).await;
    // Both deadlines have passed, but the second one's reconfirmation stands before its wake-up.
    stack.wake(first.deadline_at, first.deadline_at).await;
    terminal.client.reconfirm(&server, second.id).await.expect("sent");
    terminal.client.reconfirm(&server, first.id).await.expect("sent");
    stack.wake(second.deadline_at, second.deadline_at).await;
    let _worker = stack.worker_by_hand().await;
    stack.until_state(second.id, "confirmed").await;
    assert_eq!(stack.state(first.id).await, "cancelled");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_committed_after_its_wake_up_is_found_by_the_sweep() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[("capacity", &10)]).await;
    let mut worker = stack.worker_by_hand().await;
    let held = terminal.accepted(&server, window(SOON, 600)).await;
    stack.server("other", &[]).await;
    // Of another user: who writes a hold has that user locked until it is committed.
    let bob = stack.terminal("bob").await;
    // A former owner of the partition is slow to commit a hold with the same deadline.
    let late = crate::support::engines::connect(&stack.database_url).await;
    let id = Uuid::now_v7();
    let copy = "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition,
            start_at, end_at, busy_until, deadline_at, state, price_minor, currency, tariff_version, held_at)
        select $1, $3, 'late', 'bob', 'other', partition, start_at, end_at, busy_until,
            deadline_at, state, price_minor, currency, tariff_version, held_at
        from reservations where id = $2";
    late.batch_execute("begin").await.expect("begin");
    late.execute(copy, &[&id, &held.id, &bob.id()]).await.expect("inserted");
    passed(&stack, held.deadline_at).await;
    stack.wake(held.deadline_at, held.deadline_at).await;
    stack.until_state(held.id, "cancelled").await;
    let rows: i64 = stack.ask("select count(*) from timers", &[]).await;
    assert_eq!(rows, 0, "the instant is finished");
    worker.stop().await;
    // What a worker would have written with it.
    late.batch_execute(&format!(
        "insert into processed_commands select '{bob}', 'late', kind, digest, outcome, answer_type, answer,
             'other', '{id}', seq, decided_at from processed_commands where reservation_id = '{}';
         insert into history select nextval('decision_block') * 65536, '{id}', null, 'held', null, actor,
             '{bob}', trigger, 'late', null, 'other', at from history
             where reservation_id = '{}' and to_state = 'held';
         commit",
        held.id, held.id, bob = bob.id()
    ))
    .await
    .expect("committed");
    let _worker = stack.worker_with(&[("HOLDFAST_LADDER", "off")]);
    stack.until_state(id, "cancelled").await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_beyond_the_longest_rung_goes_in_legs() {
    // Four levels reach one and a half seconds.
    let mut stack = Stack::with_shape(Shape { partitions: 1, delay_levels: 4 }).await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    let worker = stack.worker_with(&[("HOLDFAST_SWEEP", "off")]);
    let held = terminal.accepted(&server, window(SOON + 2, 600)).await;
    stack.until_state(held.id, "cancelled").await;
    let batches = worker.log().matches(" batch ").count();
    assert!(batches >= 4, "several hops came by: {batches}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_instant_is_settled_in_slices() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    // More than two slices: one second each, one after the other, all with one deadline.
    let many = 4_500;
    stack.execute("update users set holds_max = $1", &[&many]).await;
    for statement in [
        "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition, start_at,
             end_at, busy_until, deadline_at, state, price_minor, currency, tariff_version, held_at)
         select gen_random_uuid(), $1, 'bulk-' || n, 'ann', 'cam', 0, at, at + interval '1 s',
             at + interval '1 s', date_trunc('second', clock_timestamp()), 'held', 1, 'EUR', 1, now()
         from generate_series(1, $2::int) n
         cross join lateral (select date_trunc('second', now()) + n * interval '1 s' + interval '60 s' as at) t",
        "insert into processed_commands select terminal_id, message_id, 'request', '', 'accepted', '', '', 'cam',
             id, substr(message_id, 6)::bigint, now() from reservations where terminal_id = $1 and $2::int > 0",
        "insert into history select substr(message_id, 6)::bigint, id, null, 'held', null, 'terminal', terminal_id,
             'command', message_id, null, 'cam', now() from reservations where terminal_id = $1 and $2::int > 0",
    ] {
        stack.execute(statement, &[&terminal.id(), &many]).await;
    }
    let due: DateTime<Utc> = stack.ask("select max(deadline_at) from reservations", &[]).await;
    stack.wake(due, due).await;
    let _worker = stack.worker_by_hand().await;
    facts::until("all are settled", async || {
        let open: i64 =
            stack.ask("select count(*) from reservations where state = 'held'", &[]).await;
        open == 0
    })
    .await;
    let once: i64 = stack
        .ask("select count(*) from history where actor = 'deadline' and trigger = 'message'", &[])
        .await;
    assert_eq!(once, i64::from(many));
    let _ = server;
    stack.finish().await;
}

/// Limits the partition to `len` messages, as an operator's policy can.
async fn limit_partition(stack: &Stack, len: Option<u32>) {
    use rabbitmq_http_client::commons::PolicyTarget;
    use rabbitmq_http_client::requests::PolicyParams;
    let management = crate::support::engines::management();
    let Some(len) = len else {
        return management.delete_policy(&stack.vhost, "small", false).await.expect("deleted");
    };
    let definition = serde_json::json!({ "max-length": len });
    let policy = PolicyParams {
        vhost: &stack.vhost,
        name: "small",
        pattern: "^reservation\\.commands\\.v2\\.",
        apply_to: PolicyTarget::Queues,
        priority: 1,
        definition: definition.as_object().expect("an object").clone(),
    };
    management.declare_policy(&policy).await.expect("declared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_command_queue_recovers_once_there_is_room() {
    use holdfast::broker::publisher::Fate;
    use holdfast::client::Command;
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[("capacity", &10)]).await;
    let mut worker: Worker = stack.worker();
    let held = terminal.accepted(&server, window(SOON, 600)).await;
    worker.stop().await;
    limit_partition(&stack, Some(5)).await;
    // Until the queue is full; its bound is approximate.
    let mut refused = None;
    let mut routed = Vec::new();
    facts::until("the queue is full", async || {
        let id = crate::support::terminal::new_id();
        let command = Command::reconfirm(id, "cam", uuid::Uuid::nil());
        match terminal.client.send_all(std::slice::from_ref(&command)).await.expect("sent")[0] {
            Fate::Routed => routed.push(command),
            _ => refused = Some(command),
        }
        refused.is_some()
    })
    .await;
    passed(&stack, held.deadline_at + TimeDelta::seconds(1)).await;
    limit_partition(&stack, None).await;
    let _worker = stack.worker();
    stack.until_state(held.id, "cancelled").await;
    for command in &routed {
        terminal.reply_to(&command.message_id).await;
    }
    let refused = refused.expect("one was refused");
    assert!(terminal.answers_to(&refused.message_id).is_empty());
    terminal.ask(&refused).await;
    stack.finish().await;
}
