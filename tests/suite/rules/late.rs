//! R4: a request whose deadline has already passed.

use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::message::answer::Answer;
use holdfast::message::event::{CloudEvent, ConfirmedData, charge_id};

use super::{Refused, far_from_the_end_of_a_period};
use crate::support::stack::Stack;
use crate::support::terminal::{code, window};

#[tokio::test(flavor = "multi_thread")]
async fn a_late_booking_is_confirmed_and_billed_at_once() {
    let mut stack = Stack::new().await;
    stack.user("ann", None, Some(1)).await;
    let columns = [("late_booking", &"confirm" as _), ("lead_seconds", &3_600 as _)];
    let server = stack.server("cam", &columns).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    // All places among the holds are taken: a late booking needs none.
    let held = terminal.accepted(&server, window(7_200, 60)).await.id;

    let answer = terminal.request(&server, window(1_800, 600)).await;
    let Answer::Accepted { reservation: booked, charge, remind_at, no_reminder, .. } = answer
    else {
        panic!("{answer:?}")
    };
    assert_eq!(booked.state, "confirmed");
    // The answer has all that a notice of the confirmation would have.
    assert_eq!(charge, Some(charge_id(booked.id)));
    assert_eq!((remind_at, no_reminder.as_deref()), (None, Some("confirmed")));
    assert_eq!(booked.connection.as_ref().expect("connection data").url, "rtmp://cam.example/live");
    assert!(booked.settled_at.is_some() && booked.reconfirmed_at.is_none());
    let instants: i64 = stack.ask("select count(*) from timers", &[]).await;
    assert_eq!(instants, 1, "the hold's deadline, and none that has passed");

    stack.outbox_empty().await;
    let events = stack.drain(BILLING_QUEUE).await;
    assert_eq!(events.len(), 1);
    let event: CloudEvent<ConfirmedData> =
        serde_json::from_slice(&events[0].data).expect("an event");
    assert_eq!((event.id, event.subject), (charge_id(booked.id), booked.id));
    assert_eq!((event.data.amount_minor, event.data.quantity), (600, 600));
    let charged = "select count(*) from billing_entries where id = $1 and kind = 'charge'
                   and reservation_id = $2 and amount_minor = 600 and seconds = 600";
    let charges: i64 = stack.ask(charged, &[&event.id, &booked.id]).await;
    assert_eq!(charges, 1);
    let life: Vec<String> = stack
        .ask(
            "select array_agg(to_state order by from_state nulls first) from history
              where reservation_id = $1",
            &[&booked.id],
        )
        .await;
    assert_eq!(life, ["held", "confirmed"]);
    assert!(terminal.notices().is_empty(), "the answer has said it all");

    for answer in
        [terminal.reconfirm(&server, booked.id).await, terminal.withdraw(&server, booked.id).await]
    {
        assert_eq!(Refused::of(answer), Refused::decided("already_confirmed"));
    }
    assert_eq!(stack.state(held).await, "held");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_booking_obeys_every_other_rule() {
    let mut stack = Stack::new().await;
    far_from_the_end_of_a_period(&stack).await;
    stack.user("ann", Some(600), None).await;
    let columns = [("late_booking", &"confirm" as _), ("lead_seconds", &3_600 as _)];
    let server = stack.server("cam", &columns).await;
    let (mut terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let _worker = stack.worker();
    assert_eq!(terminal.refused(&server, window(-1, 60)).await, "start_in_past");
    assert_eq!(terminal.refused(&server, window(1_800, 601)).await, "quota_exceeded");
    terminal.accepted(&server, window(1_800, 600)).await;
    assert_eq!(other.refused(&server, window(1_800, 600)).await, "capacity_exceeded");
    let answer = terminal.request(&server, window(900, 1)).await;
    assert_eq!(code(&answer), Some("quota_exceeded"), "what is billed counts too");
    // Time to reconfirm is left, so this one is a hold.
    let answer = other.request(&server, window(7_200, 60)).await;
    let Answer::Accepted { reservation, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((reservation.state.as_str(), reservation.connection), ("held", None));
    stack.finish().await;
}
