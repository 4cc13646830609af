//! Reminders (R12): sent once, before the deadline, and only if the terminal has not reconfirmed.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::message::answer::{Answer, Notice, ReservationView};

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};

/// A server with a deadline one minute before the start, and a reminder half a minute before that.
async fn server(stack: &Stack) -> holdfast::domain::id::ServerId {
    stack.server("cam", &[("capacity", &10), ("reminder_seconds", &30)]).await
}

/// A window whose reminder is due in `seconds`.
fn reminded_in(seconds: i64) -> (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>) {
    window(seconds + 30 + 60, 600)
}

fn reminders(terminal: &Terminal) -> Vec<ReservationView> {
    let notices = terminal.notices().into_iter();
    notices
        .filter_map(|notice| match notice {
            Notice::Reminder { reservation } => Some(reservation),
            _ => None,
        })
        .collect()
}

/// How many seconds after it was due a reminder was sent; `None` if it was not sent.
async fn lateness(stack: &Stack, held: &ReservationView) -> Option<f64> {
    let due = held.deadline_at - TimeDelta::seconds(30);
    let query =
        "select extract(epoch from reminded_at - $2)::float8 from reservations where id = $1";
    stack.ask(query, &[&held.id, &due]).await
}

/// When a reminder will be sent, and when it was, as `show` tells.
async fn told_of_reminder(
    terminal: &mut Terminal,
    held: &ReservationView,
) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    match terminal.show(held.id).await {
        Answer::Shown { remind_at, reminded_at, .. } => (remind_at, reminded_at),
        other => panic!("{other:?}"),
    }
}

async fn reminds(environment: &[(&str, &str)]) {
    let mut stack = Stack::new().await;
    let server = server(&stack).await;
    let mut terminal = stack.terminal("ann").await;
    let mut other = stack.terminal("ann").await;
    let _worker = stack.worker_with(environment);
    let wanted = reminded_in(3);
    let answer = terminal.request(&server, wanted).await;
    let Answer::Accepted { reservation: held, remind_at, no_reminder, .. } = answer else {
        panic!("{answer:?}")
    };
    let due = Some(held.deadline_at - TimeDelta::seconds(30));
    assert_eq!((remind_at, no_reminder), (due, None));
    assert_eq!(told_of_reminder(&mut terminal, &held).await, (due, None));
    let reconfirmed = terminal.accepted(&server, wanted).await;
    terminal.reconfirm(&server, reconfirmed.id).await;
    let withdrawn = other.accepted(&server, wanted).await;
    other.withdraw(&server, withdrawn.id).await;
    let later = terminal
        .accepted(&server, (wanted.0 + TimeDelta::seconds(4), wanted.1 + TimeDelta::seconds(4)))
        .await;

    let reminder = terminal.notice_about(held.id).await;
    let Notice::Reminder { reservation } = reminder else { panic!("{reminder:?}") };
    assert_eq!((reservation.state.as_str(), reservation.deadline_at), ("held", held.deadline_at));
    assert!(lateness(&stack, &held).await.expect("it was reminded") >= 0.0, "never early");
    let (to_come, sent) = told_of_reminder(&mut terminal, &held).await;
    assert!(to_come.is_none() && sent >= due, "{to_come:?} {sent:?}");
    // When the second reminder is here, no more can come from the first one's time.
    terminal.notice_about(later.id).await;
    let told: Vec<_> = reminders(&terminal).iter().map(|view| view.id).collect();
    assert_eq!(told, [held.id, later.id], "in order, once each, and nobody else");
    assert!(other.notices().is_empty());
    assert_eq!(lateness(&stack, &reconfirmed).await, None);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_alone_reminds() {
    reminds(&[("HOLDFAST_SWEEP", "off")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_alone_reminds() {
    reminds(&[("HOLDFAST_LADDER", "off")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_leaves_the_deadline_alone() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &2), ("reminder_seconds", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let wanted = window(65, 600);
    let left = terminal.accepted(&server, wanted).await;
    let kept = terminal.accepted(&server, wanted).await;
    facts::until("both are reminded of", async || reminders(&terminal).len() == 2).await;
    terminal.reconfirm(&server, kept.id).await;
    stack.until_state(left.id, "cancelled").await;
    stack.until_state(kept.id, "confirmed").await;
    assert_eq!(reminders(&terminal).len(), 2);
    stack.finish().await;
}

/// A request after the reminder's time, or on a server without reminders, gets none.
#[tokio::test(flavor = "multi_thread")]
async fn no_reminder_is_planned_where_there_is_no_time_for_it() {
    let mut stack = Stack::new().await;
    let near = stack.server("near", &[("reminder_seconds", &3_600)]).await;
    let never = stack.server("never", &[("reminder_seconds", &0)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    for (server, wanted, why) in
        [(near, window(1_000, 600), "passed"), (never, window(100_000, 600), "off")]
    {
        let answer = terminal.request(&server, wanted).await;
        let Answer::Accepted { reservation: held, remind_at, no_reminder, .. } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((remind_at, no_reminder.as_deref()), (None, Some(why)));
        let query = "select remind_at is null from reservations where id = $1";
        assert!(stack.ask::<bool>(query, &[&held.id]).await, "{server}");
        let timers: i64 =
            stack.ask("select count(*) from timers where due_at <> $1", &[&held.deadline_at]).await;
        assert!(timers <= 1, "no timer but the deadlines'");
    }
    stack.finish().await;
}

/// After an outage that lasts past the reminder's time and the deadline, only the deadline counts.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_reminded_after_the_deadline() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("reminder_seconds", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let held = terminal.accepted(&server, window(65, 600)).await;
    assert!(worker.stop().await.success());
    facts::until("the deadline has passed", async || {
        stack.ask("select clock_timestamp() > $1", &[&held.deadline_at]).await
    })
    .await;
    let _worker = stack.worker();
    stack.until_state(held.id, "cancelled").await;
    let notice = terminal.notice_about(held.id).await;
    assert!(matches!(notice, Notice::Cancelled { .. }), "{notice:?}");
    assert_eq!(terminal.notices().len(), 1);
    stack.finish().await;
}
