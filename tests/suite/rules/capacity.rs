//! R1 and R3: half-open intervals, depth instead of counting, gaps, and what operators may change.

use holdfast::client::Command;
use holdfast::domain::id::ServerId;
use holdfast::message::answer::{Answer, Notice};
use holdfast::store::admin::servers::{ServerChange, update_server};
use holdfast::store::error::StoreError;

use super::{Refused, span};
use crate::support::stack::Stack;
use crate::support::terminal::{in_seconds, new_id, window};

#[tokio::test(flavor = "multi_thread")]
async fn depth_counts_and_not_the_number_of_neighbours() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let base = in_seconds(86_400);
    // Six touching ones take one place, so a long one over all of them takes the other.
    for n in 0..6 {
        terminal.accepted(&server, span(base, n * 600, (n + 1) * 600)).await;
    }
    terminal.accepted(&server, span(base, 0, 3_600)).await;
    for (start, end) in [(0, 3_600), (600, 1_200), (-60, 1), (3_599, 3_700), (-60, 3_700)] {
        let answer = terminal.request(&server, span(base, start, end)).await;
        assert_eq!(Refused::of(answer), Refused::decided("capacity_exceeded"), "{start} to {end}");
    }
    terminal.accepted(&server, span(base, -60, 0)).await;
    terminal.accepted(&server, span(base, 3_600, 3_700)).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gap_is_kept_on_both_sides() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("gap_seconds", &60)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let base = in_seconds(86_400);
    terminal.accepted(&server, span(base, 0, 600)).await;
    for (start, end) in [(600, 700), (659, 700), (-100, 0), (-100, -59)] {
        assert_eq!(terminal.refused(&server, span(base, start, end)).await, "capacity_exceeded");
    }
    terminal.accepted(&server, span(base, 660, 700)).await;
    terminal.accepted(&server, span(base, -100, -60)).await;
    // A longer gap holds for what is accepted from now on, before and behind it.
    stack.execute("update servers set gap_seconds = 120", &[]).await;
    assert_eq!(terminal.refused(&server, span(base, -300, -219)).await, "capacity_exceeded");
    terminal.accepted(&server, span(base, -300, -220)).await;
    terminal.accepted(&server, span(base, 760, 800)).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_may_be_written_with_any_offset() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let (start, end) = window(86_400, 600);
    terminal.accepted(&server, (start, end)).await;
    // It touches the first one, said in the clocks of two places.
    let written = |at: chrono::DateTime<chrono::Utc>, hours: i32| {
        let zone = chrono::FixedOffset::east_opt(hours * 3_600 + 1_800).expect("an offset");
        at.with_timezone(&zone).to_rfc3339()
    };
    let later = end + chrono::TimeDelta::seconds(60);
    let mut command = Command::request(new_id(), "cam", end, later);
    let (from, to) = (written(end, 5), written(later, -10));
    command.body = format!(r#"{{"start_at":"{from}","end_at":"{to}"}}"#).into();
    let Answer::Accepted { reservation, .. } = terminal.ask(&command).await else {
        panic!("not accepted");
    };
    assert_eq!((reservation.start_at, reservation.end_at), (end, later));
    let reply = terminal.reply_to(&command.message_id).await;
    let body = String::from_utf8(reply.body).expect("UTF-8");
    let utc = end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    assert!(body.contains(&format!(r#""start_at":"{utc}""#)), "answers are in UTC: {body}");
    stack.finish().await;
}

/// Changes a server's capacity as an operator does. `false` if there is no such server.
async fn set_capacity(stack: &Stack, server: &ServerId, capacity: i32) -> Result<bool, StoreError> {
    let change = ServerChange { capacity: Some(capacity), ..ServerChange::default() };
    Ok(update_server(&stack.db, server, &change).await?.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_is_not_lowered_below_what_is_booked() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &3)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let base = in_seconds(86_400);
    let first = terminal.accepted(&server, span(base, 0, 600)).await.id;
    let second = terminal.accepted(&server, span(base, 300, 900)).await.id;
    terminal.accepted(&server, span(base, 900, 1_200)).await;

    let error = set_capacity(&stack, &server, 1).await.expect_err("refused");
    assert_eq!(error.sql_state().map(|state| state.code()), Some("ZR001"));
    let (_, detail) = error.database_message().expect("the database's words");
    assert_eq!(detail, Some(format!("{first}, {second}").as_str()), "exactly those in the way");
    let capacity: i32 = stack.ask("select capacity from servers", &[]).await;
    assert_eq!(capacity, 3);

    assert!(set_capacity(&stack, &server, 2).await.expect("down to what is booked"));
    assert_eq!(terminal.refused(&server, span(base, 500, 600)).await, "capacity_exceeded");
    terminal.withdraw(&server, second).await;
    assert!(set_capacity(&stack, &server, 1).await.expect("nothing in the way"));
    // The invariants judge what was by the capacity of today.
    assert!(set_capacity(&stack, &server, 2).await.expect("raised"));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_server_affects_new_requests_only() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let kept = terminal.accepted(&server, window(66, 60)).await.id;
    let given_back = terminal.accepted(&server, window(7_200, 60)).await.id;
    stack.execute("update servers set open = false", &[]).await;
    let answer = terminal.request(&server, window(9_000, 60)).await;
    assert_eq!(Refused::of(answer), Refused::decided("server_closed"));
    let answer = terminal.reconfirm(&server, kept).await;
    assert!(matches!(answer, Answer::Reconfirmed { .. }), "{answer:?}");
    let answer = terminal.withdraw(&server, given_back).await;
    assert!(matches!(answer, Answer::Withdrawn { .. }), "{answer:?}");
    let notice = terminal.notice_about(kept).await;
    assert!(matches!(notice, Notice::Confirmed { .. }), "{notice:?}");
    stack.finish().await;
}
