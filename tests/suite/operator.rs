//! Cancelling by an operator (R14): in every state, once, with a credit for what was billed.

use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::domain::input::Cancellation;
use holdfast::engine;
use holdfast::message::answer::{Answer, Notice};
use holdfast::message::event::{self, CloudEvent, CreditedData};
use holdfast::store::pool;
use uuid::Uuid;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{code, window};

/// Cancels as `holdfast reservation cancel` does. Gives whether it was credited, or the code.
async fn cancel(stack: &Stack, reservation: Uuid) -> Result<bool, &'static str> {
    let pool = pool::open(pool::settings(&stack.database_url.parse().expect("a URL")), 1);
    let (operator, note) = ("olga".to_owned(), "power failure".to_owned());
    let outcome = engine::cancel(&pool, Cancellation { reservation, operator, note }).await;
    outcome
        .expect("the database")
        .map(|done| done.credited)
        .map_err(|refusal| refusal.code.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn unsettled_ones_are_cancelled_free_of_charge() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    for reconfirmed in [false, true] {
        let held = terminal.accepted(&server, window(7_200, 600)).await;
        if reconfirmed {
            terminal.reconfirm(&server, held.id).await;
        }
        assert_eq!(cancel(&stack, held.id).await, Ok(false));
        let notice = terminal.notice_about(held.id).await;
        let Notice::Cancelled { reservation, note, credit } = notice else { panic!("{notice:?}") };
        assert_eq!(reservation.cancel_reason.as_deref(), Some("operator"));
        assert_eq!((note.as_deref(), credit), (Some("power failure"), None));
        // Asked for, it is the same, should the notice be lost.
        let shown = terminal.show(held.id).await;
        let Answer::Shown { reservation: told, charge, note, credit, .. } = shown else {
            panic!("{shown:?}")
        };
        assert_eq!(told, reservation);
        assert_eq!((charge, note.as_deref(), credit), (None, Some("power failure"), None));
        // The time is free: the next round takes it again.
        let answer = terminal.reconfirm(&server, held.id).await;
        let Answer::Refused { code, reason, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((code.as_str(), reason.as_deref()), ("already_cancelled", Some("operator")));
        assert_eq!(cancel(&stack, held.id).await, Err("already_cancelled"));
    }
    assert_eq!(cancel(&stack, Uuid::nil()).await, Err("unknown_reservation"));
    stack.outbox_empty().await;
    assert!(stack.drain(BILLING_QUEUE).await.is_empty());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_one_is_credited_once_and_in_full() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("late_booking", &"confirm")]).await;
    let mut terminal = stack.terminal("ann").await;
    // No sweep: the relay is told, or nothing is.
    let _worker = stack.worker_with(&[("HOLDFAST_SWEEP_INTERVAL_SECONDS", "60")]);
    let confirmed = terminal.accepted(&server, window(30, 1_800)).await;
    assert_eq!(confirmed.state, "confirmed");
    let charged = Some(event::charge_id(confirmed.id));
    let shown = terminal.show(confirmed.id).await;
    let Answer::Shown { reservation, charge, note, credit, .. } = shown else {
        panic!("{shown:?}")
    };
    assert_eq!((reservation, charge, note, credit), (confirmed.clone(), charged, None, None));
    let outcomes = futures::join!(cancel(&stack, confirmed.id), cancel(&stack, confirmed.id));
    let mut outcomes = [outcomes.0, outcomes.1];
    outcomes.sort();
    assert_eq!(outcomes, [Ok(true), Err("already_cancelled")], "two operators at once");

    let notice = terminal.notice_about(confirmed.id).await;
    let Notice::Cancelled { reservation: cancelled, credit, note } = notice else {
        panic!("{notice:?}")
    };
    assert_eq!(credit, Some(event::credit_id(confirmed.id)));
    let shown = terminal.show(confirmed.id).await;
    let Answer::Shown { reservation, charge, note: told, credit: credited, .. } = shown else {
        panic!("{shown:?}")
    };
    assert_eq!((reservation, told, credited), (cancelled, note, credit));
    assert_eq!(charge, charged, "the charge stays");
    stack.outbox_empty().await;
    let events = stack.drain(BILLING_QUEUE).await;
    assert_eq!(events.len(), 2, "the charge and the credit");
    let credited: CloudEvent<CreditedData> =
        serde_json::from_slice(&events[1].data).expect("a credit");
    assert_eq!((credited.kind.as_str(), Some(credited.id)), ("reservation.credited", credit));
    let data = credited.data;
    assert_eq!((data.charge, data.amount_minor), (event::charge_id(confirmed.id), 1_800));
    assert_eq!((data.quantity, data.note.as_str()), (1_800, "power failure"));
    let query = "select count(*), sum(case kind when 'charge' then amount_minor else -amount_minor end)::bigint
        from billing_entries";
    let row = stack.db.query_one(query, &[]).await.expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 0));
    // Its place is free again.
    assert_eq!(terminal.accepted(&server, window(40, 60)).await.state, "confirmed");
    let answer = terminal.withdraw(&server, confirmed.id).await;
    assert_eq!(code(&answer), Some("already_cancelled"));
    stack.finish().await;
}

/// A cancellation came through no queue, so it waits for no fence.
#[tokio::test(flavor = "multi_thread")]
async fn one_whose_server_moves_is_cancelled_at_once() {
    let mut stack = Stack::with_partitions(2).await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    for phase in ["binding", "unbinding"] {
        let held = terminal.accepted(&server, window(7_200, 600)).await;
        let begin = "insert into moves (server_id, from_partition, to_partition, fence, phase)
            values ('cam', 0, 1, gen_random_uuid(), $1)";
        stack.execute(begin, &[&phase]).await;
        assert_eq!(cancel(&stack, held.id).await, Ok(false), "{phase}");
        let notice = terminal.notice_about(held.id).await;
        assert!(matches!(notice, Notice::Cancelled { .. }), "{notice:?}");
        stack.execute("delete from moves", &[]).await;
    }
    stack.finish().await;
}

/// The wake-up of a cancelled reservation's deadline finds nothing, and the history says who did it.
#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_finds_it_cancelled() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let wanted = window(68, 600);
    let held = terminal.accepted(&server, wanted).await;
    terminal.reconfirm(&server, held.id).await;
    let other = terminal.accepted(&server, wanted).await;
    assert_eq!(cancel(&stack, held.id).await, Ok(false));
    stack.until_state(other.id, "cancelled").await;
    facts::until("the instant is finished", async || {
        stack.ask::<i64>("select count(*) from timers", &[]).await == 0
    })
    .await;
    let query = "select actor || ' ' || actor_id || ' ' || trigger || ' ' || note from history
        where reservation_id = $1 and to_state = 'cancelled'";
    assert_eq!(
        stack.ask::<String>(query, &[&held.id]).await,
        "operator olga operator power failure"
    );
    stack.finish().await;
}
