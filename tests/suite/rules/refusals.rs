//! Codes that one request can get against one server's policy (R2), each at its bound.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::client::{ClientError, Command};
use holdfast::domain::limit::grouped;
use holdfast::message::answer::Answer;
use tokio_postgres::types::ToSql;

use super::{Refused, Window, bind_nowhere, span};
use crate::support::stack::Stack;
use crate::support::terminal::{in_seconds, new_id, window};

/// A server's policy, what it refuses, and what it takes right beside.
struct Case {
    code: &'static str,
    columns: Vec<(&'static str, &'static (dyn ToSql + Sync))>,
    refused: Vec<Window>,
    taken: Vec<Window>,
    /// Name and value of the limit that the refusal speaks of.
    limit: Option<(&'static str, i64)>,
}

/// In its fields and in its text.
fn assert_tells_its_limit(answer: &Answer, expected: Option<(&str, i64)>, wanted: Window) {
    let Answer::Refused { limit, message, .. } = answer else { panic!("{answer:?}") };
    let told = limit.as_ref().map(|limit| (limit.name.as_str(), limit.value));
    assert_eq!(told, expected, "{wanted:?}");
    let Some(limit) = limit else { return };
    assert_eq!(limit.unit, "seconds");
    assert!(message.contains(&format!(" {} s", grouped(limit.value))), "{message}");
    let length = (wanted.1 - wanted.0).num_seconds();
    let ahead = (wanted.0 - Utc::now()).num_seconds();
    let (given, about) = match (limit.name.as_str(), limit.given) {
        ("min_seconds" | "max_seconds", Some(given)) => (given, length..=length),
        ("horizon_seconds" | "lead_seconds", Some(given)) => (given, ahead..=ahead + 60),
        ("slot_seconds", None) => return,
        other => panic!("{other:?}"),
    };
    assert!(about.contains(&given), "{given} is not in {about:?}");
    assert!(message.contains(&format!("given {} s.", grouped(given))), "{message}");
}

/// A quarter of an hour, counted from the epoch, a day from now.
fn quarter() -> DateTime<Utc> {
    let tomorrow = in_seconds(86_400);
    tomorrow - TimeDelta::seconds(tomorrow.timestamp() % 900)
}

fn cases() -> Vec<Case> {
    let day = quarter();
    let half = TimeDelta::milliseconds(500);
    vec![
        Case {
            code: "server_closed",
            limit: None,
            columns: vec![("open", &false)],
            refused: vec![span(day, 0, 60)],
            taken: vec![],
        },
        Case {
            code: "off_grid",
            limit: Some(("slot_seconds", 900)),
            columns: vec![("slot_seconds", &900)],
            refused: vec![span(day, 1, 900), span(day, 0, 899), span(day, 450, 1_350)],
            taken: vec![span(day, 0, 900), span(day, 2_700, 4_500)],
        },
        Case {
            code: "off_grid",
            limit: Some(("slot_seconds", 1)),
            columns: vec![],
            refused: vec![(day + half, day + TimeDelta::seconds(60)), (day, day + half)],
            taken: vec![span(day, 0, 1)],
        },
        Case {
            code: "too_short",
            limit: Some(("min_seconds", 600)),
            columns: vec![("min_seconds", &600)],
            refused: vec![span(day, 0, 599), span(day, 0, 1)],
            taken: vec![span(day, 0, 600)],
        },
        Case {
            code: "too_long",
            limit: Some(("max_seconds", 600)),
            columns: vec![("max_seconds", &600)],
            refused: vec![span(day, 0, 601), span(day, 0, 86_400 * 366 * 7_000)],
            taken: vec![span(day, 0, 600)],
        },
        Case {
            code: "start_in_past",
            limit: None,
            columns: vec![("lead_seconds", &0)],
            refused: vec![
                window(-1, 600),
                window(-86_400, 600),
                window(-86_400 * 366 * 2_000, 600),
            ],
            taken: vec![window(30, 600)],
        },
        Case {
            code: "beyond_horizon",
            limit: Some(("horizon_seconds", 3_600)),
            columns: vec![("horizon_seconds", &3_600)],
            refused: vec![window(3_660, 60), window(86_400 * 365 * 5_000, 60)],
            taken: vec![window(3_540, 60)],
        },
        Case {
            code: "too_late_to_reconfirm",
            limit: Some(("lead_seconds", 3_600)),
            columns: vec![("lead_seconds", &3_600)],
            refused: vec![window(3_599, 60), window(60, 60)],
            taken: vec![window(3_660, 60)],
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_bounds_are_exact_and_each_has_its_code() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    for (index, case) in cases().into_iter().enumerate() {
        let server = stack.server(&format!("s{index}"), &case.columns).await;
        for wanted in case.refused {
            let answer = terminal.request(&server, wanted).await;
            assert_tells_its_limit(&answer, case.limit, wanted);
            assert_eq!(Refused::of(answer), Refused::decided(case.code), "{wanted:?}");
        }
        for wanted in case.taken {
            let taken = terminal.accepted(&server, wanted).await;
            assert_eq!((taken.start_at, taken.end_at), wanted, "{}", case.code);
        }
    }
    stack.finish().await;
}

/// The broker returns what names no bound server, and nothing is kept. What a binding leads to a worker
/// all the same is decided.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_server_is_refused_and_the_refusal_is_kept() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let (start, end) = window(7_200, 60);
    let command = Command::request(new_id(), "nowhere", start, end);
    let returned = terminal.client.send(&command).await;
    assert!(matches!(returned, Err(ClientError::Unroutable(id)) if id == command.message_id));
    bind_nowhere(&stack).await;
    let first = terminal.ask(&command).await;
    assert_eq!(Refused::of(first), Refused::decided("unknown_server"));
    // Decided is decided: the id's answer does not change when the server appears.
    let server = stack.server("nowhere", &[]).await;
    terminal.client.send(&command).await.expect("sent");
    let again = terminal.nth_reply_to(&command.message_id, 2).await;
    assert_eq!(again.body, terminal.reply_to(&command.message_id).await.body);
    terminal.accepted(&server, (start, end)).await;
    let outcome: String = stack
        .ask("select outcome from processed_commands where message_id = $1", &[&command.message_id])
        .await;
    assert_eq!(outcome, "unknown_server");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_keeps_its_window_free_and_may_be_touched() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let elsewhere = stack.server("other", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let day = quarter();
    let before = terminal.accepted(&server, span(day, 1_100, 1_200)).await;
    let (from, to) = span(day, 1_000, 2_000);
    let statement = "insert into closures (server_id, start_at, end_at) values ('cam', $1, $2)";
    stack.execute(statement, &[&from, &to]).await;
    for (start, end) in [(999, 1_001), (1_999, 2_001), (1_500, 1_600), (0, 9_000)] {
        let answer = terminal.request(&server, span(day, start, end)).await;
        let Answer::Refused { closure: Some(told), .. } = &answer else { panic!("{answer:?}") };
        assert_eq!((told.start_at, told.end_at), (from, to), "the window in the way");
        assert_eq!(Refused::of(answer), Refused::decided("closure"), "{start} to {end}");
    }
    terminal.accepted(&server, span(day, 900, 1_000)).await;
    terminal.accepted(&server, span(day, 2_000, 2_100)).await;
    terminal.accepted(&elsewhere, span(day, 1_500, 1_600)).await;
    assert_eq!(stack.state(before.id).await, "held", "what was accepted before stays");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_hold_so_many_until_some_are_reconfirmed_or_withdrawn() {
    let mut stack = Stack::new().await;
    stack.user("ann", None, Some(2)).await;
    let server = stack.server("cam", &[]).await;
    let (mut terminal, mut second) = (stack.terminal("ann").await, stack.terminal("ann").await);
    let mut other = stack.terminal("bob").await;
    let _worker = stack.worker();
    let day = quarter();
    let hour = |n: i64| span(day, n * 3_600, n * 3_600 + 60);
    let first = terminal.accepted(&server, hour(1)).await;
    let withdrawn = second.accepted(&server, hour(2)).await;
    for terminal in [&mut terminal, &mut second] {
        let answer = terminal.request(&server, hour(3)).await;
        assert_eq!(Refused::of(answer), Refused::decided("too_many_holds"));
    }
    other.accepted(&server, hour(3)).await;
    terminal.reconfirm(&server, first.id).await;
    terminal.reconfirm(&server, first.id).await;
    terminal.accepted(&server, hour(4)).await;
    assert_eq!(terminal.refused(&server, hour(5)).await, "too_many_holds", "one place, not two");
    terminal.withdraw(&server, withdrawn.id).await;
    terminal.accepted(&server, hour(5)).await;
    assert_eq!(terminal.refused(&server, hour(6)).await, "too_many_holds");
    // A reconfirmed one holds no place, so withdrawing it frees none.
    terminal.withdraw(&server, first.id).await;
    assert_eq!(terminal.refused(&server, hour(6)).await, "too_many_holds");
    stack.execute("update users set holds_max = 1 where id = 'ann'", &[]).await;
    let held: i64 = stack.ask("select count(*) from reservations where state = 'held'", &[]).await;
    assert_eq!(held, 3, "a lower limit takes nothing away");
    stack.finish().await;
}
