//! Events are published once more: the same ids and bytes, in order, to whom the operator says.

use holdfast::broker::topology::{BILLING_QUEUE, EVENTS_EXCHANGE};
use holdfast::domain::id::ServerId;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::program::command;
use crate::support::stack::Stack;
use crate::support::terminal::window;

const CHARGES: usize = 5;

async fn declare(stack: &Stack, queue: &str, max_len: Option<i64>) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    if let Some(max_len) = max_len {
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(max_len));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    }
    let declared = channel.queue_declare(queue.into(), Default::default(), arguments).await;
    declared.expect("a queue");
}

/// Id, type, content type and body.
fn parts(taken: &[Delivery]) -> Vec<(String, String, String, Vec<u8>)> {
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().expect("set").to_string();
    let part = |delivery: &Delivery| {
        let properties = &delivery.properties;
        (
            text(properties.message_id()),
            text(properties.kind()),
            text(properties.content_type()),
            delivery.data.clone(),
        )
    };
    taken.iter().map(part).collect()
}

/// Charges, then a cancellation with a credit for the first; the reservations' ids.
async fn bills(stack: &mut Stack) -> Vec<Uuid> {
    let columns: [(&str, &(dyn tokio_postgres::types::ToSql + Sync)); 2] =
        [("capacity", &(CHARGES as i32)), ("late_booking", &"confirm")];
    let server: ServerId = stack.server("cam", &columns).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let mut ids = Vec::new();
    for _ in 0..CHARGES {
        ids.push(terminal.accepted(&server, window(30, 600)).await.id);
    }
    stack
        .operate(
            &[("HOLDFAST_OPERATOR", "olga")],
            &format!("reservation cancel {} --reason wrong", ids[0]),
            0,
        )
        .await;
    stack.outbox_empty().await;
    assert!(worker.stop().await.success());
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_the_same_ids_and_bytes_in_order() {
    let mut stack = Stack::new().await;
    let ids = bills(&mut stack).await;
    let sent = parts(&stack.drain(BILLING_QUEUE).await);
    assert_eq!(sent.len(), CHARGES + 1);
    let olga = [("HOLDFAST_OPERATOR", "olga")];

    let dry = stack.operate(
        &[],
        "event replay --from -1d --exchange billing --why x --dry-run --json",
        0,
    );
    let dry: Value = serde_json::from_str(&dry.await.stdout).expect("JSON");
    assert_eq!(dry["events"], CHARGES + 1, "{dry}");
    assert_eq!(stack.depth(BILLING_QUEUE).await.0, 0);
    stack.operate(&olga, "event replay --from -1d --exchange billing --why lost", 0).await;
    let again = parts(&stack.drain(BILLING_QUEUE).await);
    assert_eq!(again, sent, "in the order in which they were decided");

    // To one's own queue and no other: all of a reservation, or some by id.
    declare(&stack, "mine", None).await;
    stack
        .operate(
            &olga,
            &format!("event replay --reservation {} --queue mine --why dispute", ids[0]),
            0,
        )
        .await;
    let mine = parts(&stack.drain("mine").await);
    let kinds: Vec<&str> = mine.iter().map(|part| part.1.as_str()).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    for kind in ["reservation.confirmed", "reservation.cancelled", "reservation.credited"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert!(
        mine.iter()
            .filter(|part| part.1 != "reservation.cancelled")
            .all(|part| sent.contains(part))
    );
    assert_eq!(stack.depth(BILLING_QUEUE).await.0, 0);
    let (one, other) = (&sent[1].0, &sent[2].0);
    stack.operate(&olga, &format!("event replay {one} {other} --queue mine --why some"), 0).await;
    assert_eq!(parts(&stack.drain("mine").await), sent[1..3]);
    let only = "event replay --from -1d --type reservation.cancelled --queue mine --why some";
    stack.operate(&olga, only, 0).await;
    assert_eq!(stack.drain("mine").await.len(), 1);
    // Subscribers of all events get all of them; nobody needs to be there.
    stack.operate(&olga, "event replay --from -1d --exchange events --why some", 0).await;

    for (line, code, said) in [
        ("event replay --from -1d --queue none --why x", 4, "queue none: does not exist"),
        ("event replay --from -1d --to -2d --queue mine --why x", 4, "--to is not after --from"),
        ("event replay --queue mine --why x", 2, "required"),
        ("event replay --from -1d --why x", 2, "required"),
    ] {
        let refused = stack.operate(&[], line, code).await;
        assert!(refused.stderr.contains(said), "{line}: {refused:?}");
    }
    let rows = "select array_agg(concat_ws(' ', operator, action, object_id, why) order by id)
        from audit where kind = 'events'";
    let rows: Vec<String> = stack.ask(rows, &[]).await;
    assert_eq!(rows[0], "olga replay exchange billing.entries.v1 lost");
    assert_eq!(rows[1], "olga replay queue mine dispute");
    assert_eq!(rows.last().expect("rows"), &format!("olga replay exchange {EVENTS_EXCHANGE} some"));
    stack.finish().await;
}

/// What no queue takes ends the replay at that event, and it goes on there.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_on_where_another_ended() {
    let mut stack = Stack::new().await;
    bills(&mut stack).await;
    let sent = parts(&stack.drain(BILLING_QUEUE).await);
    declare(&stack, "full", Some(2)).await;
    let line = "event replay --from -1d --type reservation.confirmed --queue full --why full";
    let full = stack.operate(&[], line, 3).await;
    let (_, after) = full.stderr.split_once("--after ").expect("where it goes on");
    let after: Uuid = after.trim().parse().expect("an id");
    assert_eq!(after.to_string(), sent[1].0, "{full:?}");
    let first = parts(&stack.drain("full").await);
    assert_eq!(first, sent[..2]);
    declare(&stack, "wide", None).await;
    let rest = line.replace("full", "wide");
    stack.operate(&[], &format!("{rest} --after {after}"), 0).await;
    assert_eq!(parts(&stack.drain("wide").await), sent[2..CHARGES]);
    let none = format!("{rest} --after {}", Uuid::nil());
    stack.operate(&[], &none, 4).await;

    // Ended behind the confirms, it is recorded and has published; again brings the same.
    let own = stack.operator_environment();
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment: Vec<(&str, &str)> =
        own.chain([("FAILPOINTS", "events-confirmed=return")]).collect();
    let words: Vec<&str> = rest.split_whitespace().collect();
    let killed = command(&environment, &words).spawn().expect("it runs").wait_with_output().await;
    assert!(!killed.expect("it ends").status.success());
    assert_eq!(parts(&stack.drain("wide").await), sent[..CHARGES]);
    let recorded = "select after from audit where kind = 'events' order by id desc limit 1";
    let recorded: Value = stack.ask(recorded, &[]).await;
    assert_eq!(recorded["types"], json!(["reservation.confirmed"]), "{recorded}");
    stack.finish().await;
}
