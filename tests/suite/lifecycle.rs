//! A reservation's life from request to bill.

use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::message::answer::{Answer, Notice};
use holdfast::message::event::{CloudEvent, ConfirmedData};
use serde_json::Value;

use crate::support::stack::Stack;
use crate::support::terminal::{code, window};

#[tokio::test(flavor = "multi_thread")]
async fn reconfirmed_in_time_is_confirmed_and_billed_once() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();

    let held = terminal.accepted(&server, window(68, 1_800)).await;
    assert_eq!((held.state.as_str(), held.price.amount_minor), ("held", 1_800));
    assert_eq!(held.connection, None, "connection data comes with the confirmation");
    let Answer::Reconfirmed { reservation, .. } = terminal.reconfirm(&server, held.id).await else {
        panic!("not reconfirmed");
    };
    assert_eq!(reservation.state, "reconfirmed");

    let Notice::Confirmed { reservation, charge, .. } = terminal.notice_about(held.id).await else {
        panic!("not confirmed");
    };
    assert_eq!(reservation.connection.expect("connection data").url, "rtmp://cam.example/live");
    stack.outbox_empty().await;
    let events = stack.drain(BILLING_QUEUE).await;
    assert_eq!(events.len(), 1);
    let event: CloudEvent<ConfirmedData> =
        serde_json::from_slice(&events[0].data).expect("an event");
    assert_eq!((event.id, event.subject), (charge, held.id));
    assert_eq!((event.data.quantity, event.data.amount_minor), (1_800, 1_800));
    let outcome = terminal.reconfirm(&server, held.id).await;
    assert_eq!(code(&outcome), Some("already_confirmed"));
    let outcome = terminal.withdraw(&server, held.id).await;
    assert_eq!(code(&outcome), Some("already_confirmed"));

    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_reconfirmed_is_cancelled_and_its_time_is_free() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();

    let wanted = window(68, 1_800);
    let held = terminal.accepted(&server, wanted).await;
    assert_eq!(terminal.refused(&server, wanted).await, "capacity_exceeded");
    let Notice::Cancelled { reservation, .. } = terminal.notice_about(held.id).await else {
        panic!("not cancelled");
    };
    assert_eq!(reservation.cancel_reason.as_deref(), Some("not_reconfirmed"));
    let outcome = terminal.reconfirm(&server, held.id).await;
    let Answer::Refused { code, reason, .. } = outcome else { panic!("not refused") };
    assert_eq!((code.as_str(), reason.as_deref()), ("already_cancelled", Some("not_reconfirmed")));
    // The place is free again: it is the lead time that is too short by now, not the capacity.
    assert_eq!(terminal.refused(&server, wanted).await, "too_late_to_reconfirm");
    terminal.accepted(&server, (wanted.0 + chrono::TimeDelta::seconds(60), wanted.1)).await;

    stack.outbox_empty().await;
    assert!(stack.drain(BILLING_QUEUE).await.is_empty(), "nothing to bill");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_is_free_of_charge() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut other = stack.terminal("ann").await;
    let _worker = stack.worker();

    let held = terminal.accepted(&server, window(7_200, 600)).await;
    terminal.reconfirm(&server, held.id).await;
    let Answer::Withdrawn { reservation, .. } = other.withdraw(&server, held.id).await else {
        panic!("not withdrawn");
    };
    assert_eq!(reservation.cancel_reason.as_deref(), Some("withdrawn"));
    // Another terminal of the user withdrew it, so the one that reserved is told.
    assert!(matches!(terminal.notice_about(held.id).await, Notice::Cancelled { .. }));
    let again = terminal.withdraw(&server, held.id).await;
    assert_eq!(code(&again), Some("already_cancelled"));
    let Answer::Shown { reservation, .. } = terminal.show(held.id).await else {
        panic!("not shown");
    };
    assert_eq!(reservation.state, "cancelled");
    let charges: i64 = stack.ask("select count(*) from billing_entries", &[]).await;
    assert_eq!(charges, 0);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_carries_what_a_terminal_needs() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();

    let wanted = window(100_000, 3_600);
    let sent = terminal.client.request(&server, wanted.0, wanted.1).await.expect("sent");
    let reply = terminal.reply_to(&sent).await;
    assert!(reply.sent_at.is_some(), "every sending tells the time");
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(body["type"], reply.type_name);
    let reservation = &body["reservation"];
    assert_eq!(reservation["server"], "cam");
    assert_eq!(reservation["price"]["amount_minor"], 3_600);
    assert_eq!(reservation["price"]["currency"], "EUR");
    for field in ["id", "start_at", "end_at", "deadline_at"] {
        assert!(reservation[field].is_string(), "{field}");
    }
    assert_eq!(body["quota"][0]["requested_seconds"], 3_600);
    assert!(body["decided_at"].is_string());
    stack.finish().await;
}
