//! What became of a reservation's time (R17), by what gates have recorded.

use holdfast::broker::topology::EVENTS_EXCHANGE;
use holdfast::message::event::{CloudEvent, UsedData};
use lapin::types::FieldTable;
use serde_json::Value;
use uuid::Uuid;

use super::{SECRET_FILE, booked, camera, worker};
use crate::support::facts;
use crate::support::secret::SecretFile;
use crate::support::stack::Stack;

/// Has its use recorded now instead of a minute after its end.
async fn close_now(stack: &Stack, id: Uuid) {
    stack.execute("update access set close_at = now() where reservation_id = $1", &[&id]).await;
}

/// A session from some seconds after the start to some after that, as a gate records it.
async fn seen(stack: &Stack, id: Uuid, gate: &str, session: &str, (from, to): (f64, f64)) {
    let used = "insert into access_use
        select id, $2, $3, start_at + make_interval(secs => $4), start_at + make_interval(secs => $5), 0, null
        from reservations where id = $1";
    stack.execute(used, &[&id, &gate, &session, &from, &to]).await;
}

/// That a gate watched a server for some seconds around a reservation's start.
async fn watched(stack: &Stack, id: Uuid, gate: &str, (from, to): (f64, f64)) {
    let watched = "insert into gate_coverage
        select server_id, $2, start_at + make_interval(secs => $3), start_at + make_interval(secs => $4)
        from reservations where id = $1";
    stack.execute(watched, &[&id, &gate, &from, &to]).await;
}

/// The reasons of the notes in a reservation's history, with what they say.
async fn notes(stack: &Stack, id: Uuid) -> Vec<String> {
    let query = "select coalesce(array_agg(concat_ws(' ', actor, trigger, reason, split_part(note, ',', 1)) order by seq), '{}')
        from history where reservation_id = $1 and from_state = to_state";
    stack.ask(query, &[&id]).await
}

async fn closed(stack: &Stack, id: Uuid) -> Vec<String> {
    facts::until("it is closed", async || !notes(stack, id).await.is_empty()).await;
    notes(stack, id).await
}

async fn events(stack: &Stack, kind: &str) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    channel
        .queue_declare("seen".into(), Default::default(), FieldTable::default())
        .await
        .expect("a queue");
    let (exchange, key) = (EVENTS_EXCHANGE.into(), format!("reservation.{kind}.#"));
    channel
        .queue_bind(
            "seen".into(),
            exchange,
            key.as_str().into(),
            Default::default(),
            FieldTable::default(),
        )
        .await
        .expect("a binding");
}

#[tokio::test(flavor = "multi_thread")]
async fn use_is_counted_once_however_many_gates_and_sessions_saw_it() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let _worker = worker(&stack, &file);
    events(&stack, "used").await;
    let id = booked(&mut terminal, &server, 1_800).await.id;
    // Early, two that overlap, the same seen by another gate, and one that lasts beyond the end of 600 s.
    seen(&stack, id, "gate-1", "1", (-20.0, 10.0)).await;
    seen(&stack, id, "gate-1", "2", (100.0, 200.0)).await;
    seen(&stack, id, "gate-1", "3", (150.0, 250.0)).await;
    seen(&stack, id, "gate-2", "a", (100.0, 249.0)).await;
    seen(&stack, id, "gate-2", "b", (590.0, 601.0)).await;
    close_now(&stack, id).await;
    assert_eq!(closed(&stack, id).await, ["end sweep used 170 s"]);
    assert_eq!(stack.state(id).await, "confirmed");
    let event =
        facts::found("an event", async || stack.drain("seen").await.into_iter().next()).await;
    let event: CloudEvent<UsedData> = serde_json::from_slice(&event.data).expect("an event");
    assert_eq!((event.kind.as_str(), event.subject), ("reservation.used", id));
    let UsedData { quantity, first_at, last_at, period_start, period_end, .. } = event.data;
    assert_eq!(quantity, 170);
    assert_eq!((period_start - first_at).num_seconds(), 20);
    assert_eq!((last_at - period_end).num_seconds(), 1);
    let history = stack.operate(&[], &format!("reservation history {id}"), 0).await.stdout;
    assert!(history.contains("end, used: 170 s, first seen"), "{history}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_gates_that_watched_all_of_it_can_say_that_nobody_came() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 4).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let _worker = worker(&stack, &file);
    events(&stack, "*").await;
    // Far enough from each other that no gate watches two.
    let mut ids = Vec::new();
    for at in 0..4 {
        ids.push(booked(&mut terminal, &server, 700 * at + 100).await.id);
    }
    watched(&stack, ids[0], "gate-1", (-5.0, 400.0)).await;
    watched(&stack, ids[0], "gate-2", (400.0, 601.0)).await;
    // A second is missing, the end, or everything.
    watched(&stack, ids[1], "gate-1", (0.0, 300.0)).await;
    watched(&stack, ids[1], "gate-2", (301.0, 600.0)).await;
    watched(&stack, ids[2], "gate-1", (0.0, 599.0)).await;
    for id in &ids {
        close_now(&stack, *id).await;
    }
    assert_eq!(closed(&stack, ids[0]).await, ["end sweep no_show"]);
    for id in &ids[1..] {
        assert_eq!(closed(&stack, *id).await, ["end sweep unobserved"]);
    }
    let absent = |id: Uuid| {
        let stack = &stack;
        async move {
            let query = "select count(*) from outbox_messages
                where type = 'reservation.no_show' and body::jsonb ->> 'subject' = $1::text";
            stack.ask::<i64>(query, &[&id.to_string()]).await
        }
    };
    assert_eq!((absent(ids[0]).await, absent(ids[1]).await), (1, 0));
    let told = facts::found("an event", async || {
        stack
            .drain("seen")
            .await
            .into_iter()
            .find(|it| it.routing_key.as_str().starts_with("reservation.no_show"))
    })
    .await;
    let told: Value = serde_json::from_slice(&told.data).expect("an event");
    assert_eq!(told["subject"], ids[0].to_string());
    stack.finish().await;
}

/// A cancelled one is over in another way, and one without a key was nobody's to watch.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_or_has_no_key_is_not_closed() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 3).await;
    let mut terminal = stack.terminal("ann").await;
    let mut without = stack.worker();
    let plain = booked(&mut terminal, &server, 1_800).await.id;
    assert!(without.stop().await.success());
    let file = SecretFile::new(&["s1"]);
    let _worker = worker(&stack, &file);
    let (cancelled, last) = (
        booked(&mut terminal, &server, 1_800).await.id,
        booked(&mut terminal, &server, 1_800).await.id,
    );
    stack
        .operate(&[], &format!("reservation cancel --operator olga --reason x {cancelled}"), 0)
        .await;
    close_now(&stack, last).await;
    closed(&stack, last).await;
    for id in [plain, cancelled] {
        assert_eq!(notes(&stack, id).await, Vec::<String>::new());
    }
    stack.finish().await;
}

/// Claimed and lost, or done and not told: another worker does what is left, and nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_crashes_while_it_closes_leaves_one_note() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let path = file.path();
    let mut first = worker(&stack, &file);
    let id = booked(&mut terminal, &server, 1_800).await.id;
    seen(&stack, id, "gate-1", "1", (0.0, 60.0)).await;
    stack.outbox_empty().await;
    assert!(first.stop().await.success());
    for (point, notes_left) in [("closings-claimed", 0), ("saved", 0), ("closed", 1)] {
        close_now(&stack, id).await;
        let failpoints = format!("{point}=1*return");
        let environment = [(SECRET_FILE, path.as_str()), ("FAILPOINTS", failpoints.as_str())];
        let mut crashing = stack.worker_with(&environment);
        assert!(!crashing.ended().await.success(), "it reached {point}");
        assert_eq!(notes(&stack, id).await.len(), notes_left, "{point}");
    }
    let _worker = worker(&stack, &file);
    stack.outbox_empty().await;
    assert_eq!(notes(&stack, id).await, ["end sweep used 60 s"]);
    stack.finish().await;
}
