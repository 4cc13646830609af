//! R8, R11 and what a settled reservation answers.

use chrono::{DateTime, Utc};
use holdfast::client::Command;
use holdfast::message::answer::{Answer, Notice};
use uuid::Uuid;

use super::{Refused, bind_nowhere, timeless};
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

#[tokio::test(flavor = "multi_thread")]
async fn any_terminal_of_the_user_reconfirms_and_repeats_get_the_same_answer() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let (mut first, mut second) = (stack.terminal("ann").await, stack.terminal("ann").await);
    let _worker = stack.worker();
    let id = first.accepted(&server, window(86_400, 60)).await.id;
    let mut said = Vec::new();
    for by_second in [true, false, true] {
        let terminal = if by_second { &mut second } else { &mut first };
        let command = Command::reconfirm(new_id(), "cam", id);
        let answer = terminal.ask(&command).await;
        let Answer::Reconfirmed { reservation, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((reservation.state.as_str(), reservation.connection), ("reconfirmed", None));
        assert!(reservation.reconfirmed_at.is_some() && reservation.settled_at.is_none());
        said.push(timeless(&terminal.reply_to(&command.message_id).await));
    }
    assert!(said.iter().all(|body| *body == said[0]), "{said:#?}");
    let changes: i64 = stack.ask("select count(*) from history", &[]).await;
    assert_eq!(changes, 2, "held and reconfirmed, once each");
    let who = "select actor_id from history where to_state = 'reconfirmed'";
    assert_eq!(stack.ask::<String>(who, &[]).await, second.id());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_withdrawn_before_it_is_settled_and_not_after() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let settled = terminal.accepted(&server, window(66, 60)).await.id;
    terminal.reconfirm(&server, settled).await;
    for reconfirmed in [false, true] {
        let id = terminal.accepted(&server, window(86_400, 60)).await.id;
        if reconfirmed {
            terminal.reconfirm(&server, id).await;
        }
        let answer = terminal.withdraw(&server, id).await;
        let Answer::Withdrawn { reservation, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(reservation.state, "cancelled");
        assert_eq!(reservation.cancel_reason.as_deref(), Some("withdrawn"));
        assert!(reservation.settled_at.is_some());
    }
    let notice = terminal.notice_about(settled).await;
    assert!(matches!(notice, Notice::Confirmed { .. }), "{notice:?}");
    let answer = terminal.withdraw(&server, settled).await;
    assert_eq!(Refused::of(answer), Refused::decided("already_confirmed"));
    assert_eq!(stack.state(settled).await, "confirmed");
    stack.finish().await;
}

/// Cancels as an operator's tools do: row and history in one statement.
async fn cancel_as_operator(stack: &Stack, id: Uuid) {
    let statement = "with cancelled as (
            update reservations set state = 'cancelled', cancel_reason = 'operator',
                settled_at = clock_timestamp() where id = $1 returning *)
        insert into history (seq, reservation_id, from_state, to_state, reason, actor, actor_id,
            trigger, server_id, at)
        select nextval('decision_block') * 65536, id, 'held', 'cancelled', 'operator', 'operator',
            'olga', 'operator', server_id, settled_at from cancelled";
    assert_eq!(stack.execute(statement, &[&id]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_reservation_says_why() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &3)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let lapsed = terminal.accepted(&server, window(66, 60)).await.id;
    let withdrawn = terminal.accepted(&server, window(86_400, 60)).await.id;
    let removed = terminal.accepted(&server, window(86_400, 60)).await.id;
    terminal.withdraw(&server, withdrawn).await;
    cancel_as_operator(&stack, removed).await;
    stack.until_state(lapsed, "cancelled").await;
    for (id, reason) in
        [(lapsed, "not_reconfirmed"), (withdrawn, "withdrawn"), (removed, "operator")]
    {
        let expected =
            || Refused { reason: Some(reason.to_owned()), ..Refused::decided("already_cancelled") };
        assert_eq!(Refused::of(terminal.reconfirm(&server, id).await), expected());
        assert_eq!(Refused::of(terminal.withdraw(&server, id).await), expected());
        let answer = terminal.show(id).await;
        let Answer::Shown { reservation, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(reservation.cancel_reason.as_deref(), Some(reason));
    }
    stack.finish().await;
}

/// One of each command about a reservation, and what is said about it.
async fn told(terminal: &mut Terminal, server: &str, id: Uuid) -> Vec<String> {
    let mut bodies = Vec::new();
    for command in [
        Command::reconfirm(new_id(), server, id),
        Command::withdraw(new_id(), server, id),
        Command::show(new_id(), id),
    ] {
        let answer = terminal.ask(&command).await;
        let decided = !command.kind.is_query();
        let expected = Refused { decided, ..Refused::decided("unknown_reservation") };
        assert_eq!(Refused::of(answer), expected);
        bodies.push(timeless(&terminal.reply_to(&command.message_id).await));
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_foreign_reservations_cannot_be_told_apart() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let late =
        stack.server("late", &[("late_booking", &"confirm"), ("lead_seconds", &86_400)]).await;
    let (mut terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let _worker = stack.worker();
    bind_nowhere(&stack).await;
    let held = other.accepted(&server, window(86_400, 60)).await.id;
    let cancelled = other.accepted(&server, window(86_460, 60)).await.id;
    other.withdraw(&server, cancelled).await;
    let confirmed = other.accepted(&late, window(600, 60)).await.id;
    let unknown = told(&mut terminal, "cam", Uuid::new_v4()).await;
    for foreign in [held, cancelled, confirmed] {
        for server in ["cam", "late", "nowhere"] {
            assert_eq!(told(&mut terminal, server, foreign).await, unknown);
        }
    }
    assert_eq!(stack.state(held).await, "held");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_must_come_through_the_reservations_own_server() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    stack.server("other", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    bind_nowhere(&stack).await;
    let id = terminal.accepted(&server, window(86_400, 60)).await.id;
    let wrong = [
        Command::reconfirm(new_id(), "other", id),
        Command::withdraw(new_id(), "other", id),
        Command::reconfirm(new_id(), "nowhere", id),
    ];
    for command in &wrong {
        let expected = Refused {
            field: Some("routing_key".to_owned()),
            ..Refused::undecided("inconsistent_message", "never")
        };
        assert_eq!(Refused::of(terminal.ask(command).await), expected);
    }
    assert_eq!(stack.state(id).await, "held");
    // Not decided, so their ids are still free for the right messages.
    let stored = "select count(*) from processed_commands";
    assert_eq!(stack.ask::<i64>(stored, &[]).await, 1);
    for command in wrong {
        let mended = Command { server: Some("cam".to_owned()), ..command };
        terminal.client.send(&mended).await.expect("sent");
        terminal.nth_reply_to(&mended.message_id, 2).await;
    }
    assert_eq!(stack.ask::<i64>(stored, &[]).await, 4);
    stack.finish().await;
}

/// A replica's clock has no part in it, however wrong it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_id_carries_the_databases_time_of_the_decision() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    for hour in 24..27 {
        let id = terminal.accepted(&server, window(hour * 3_600, 60)).await.id;
        let held_at = "select held_at from reservations where id = $1";
        let held_at: DateTime<Utc> = stack.ask(held_at, &[&id]).await;
        let (seconds, nanos) = id.get_timestamp().expect("version 7").to_unix();
        let millis = seconds * 1_000 + u64::from(nanos) / 1_000_000;
        assert_eq!(i64::try_from(millis), Ok(held_at.timestamp_millis()));
    }
    stack.finish().await;
}
