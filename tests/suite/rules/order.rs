//! The documented order of the checks: what breaks several rules gets the first one's code.

use holdfast::client::Command;
use holdfast::domain::refusal::Code;

use super::{Window, bind_nowhere};
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id, window};

/// The request breaks every rule from this one on, as far as they can be broken together; then
/// the statement mends this one.
struct Step {
    server: &'static str,
    message_id: Option<&'static str>,
    in_past: bool,
    mend: &'static str,
}

const fn step(in_past: bool, mend: &'static str) -> Step {
    Step { server: "cam", message_id: None, in_past, mend }
}

const STEPS: [Step; 15] = [
    Step {
        server: "nowhere",
        message_id: Some("used"),
        in_past: true,
        mend: "update terminals set enabled = true",
    },
    Step { server: "nowhere", message_id: Some("used"), in_past: true, mend: "" },
    Step { server: "nowhere", message_id: None, in_past: true, mend: "" },
    step(true, "update servers set partition = 0 where id = 'cam'"),
    step(true, "update servers set open = true where id = 'cam'"),
    step(true, "update servers set slot_seconds = 1 where id = 'cam'"),
    step(true, "update servers set min_seconds = 1, max_seconds = 60 where id = 'cam'"),
    step(true, "update servers set max_seconds = 86400 where id = 'cam'"),
    step(true, ""),
    step(false, "update servers set horizon_seconds = 86400 where id = 'cam'"),
    step(false, "delete from closures"),
    step(false, "update servers set lead_seconds = 60 where id = 'cam'"),
    step(false, "update users set holds_max = 2 where id = 'ann'"),
    step(false, "update users set quota_seconds = 86400 where id = 'ann'"),
    step(false, "update servers set capacity = 2 where id = 'cam'"),
];

/// Time on `cam` that is taken, so that both windows below are over capacity.
const TAKEN: (i64, i64) = (3_600, 3_600);

async fn break_everything(stack: &Stack, terminal: &mut Terminal, other: &mut Terminal) {
    let server = stack.server("cam", &[]).await;
    let elsewhere = stack.server("other", &[]).await;
    other.accepted(&server, window(TAKEN.0, TAKEN.1)).await;
    let (start, end) = window(40_000, 600);
    terminal.ask(&Command::request("used", elsewhere.as_str(), start, end)).await;
    for statement in [
        "update users set holds_max = 1, quota_seconds = 0 where id = 'ann'",
        "update servers set open = false, slot_seconds = 86400, min_seconds = 86400,
             max_seconds = 86400, horizon_seconds = 1800, lead_seconds = 10800, partition = 1 where id = 'cam'",
        "insert into closures (server_id, start_at, end_at)
             select 'cam', clock_timestamp() - interval '1 h', clock_timestamp() + interval '3 h'",
    ] {
        stack.execute(statement, &[]).await;
    }
    let disable = "update terminals set enabled = false where id = $1";
    stack.execute(disable, &[&terminal.id()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_the_first_code_of_all_it_breaks() {
    let mut stack = Stack::new().await;
    let (mut terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let _worker = stack.worker();
    bind_nowhere(&stack).await;
    break_everything(&stack, &mut terminal, &mut other).await;

    let mut codes = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        let (start, end) = wanted(step.in_past);
        let id = step.message_id.map_or_else(new_id, str::to_owned);
        terminal.client.send(&Command::request(&id, step.server, start, end)).await.expect("sent");
        // The id that was used before was answered once before.
        let nth = if step.message_id.is_some() { index + 2 } else { 1 };
        let answer = terminal.nth_reply_to(&id, nth).await.answer().expect("an answer");
        codes.push(code(&answer).expect("refused").to_owned());
        if !step.mend.is_empty() {
            stack.execute(step.mend, &[]).await;
        }
    }
    let (from, to) = (Code::TerminalDisabled, Code::CapacityExceeded);
    let documented: Vec<&str> = Code::ALL
        .iter()
        .skip_while(|code| **code != from)
        .map(|code| code.as_str())
        .take_while(|word| *word != Code::UnknownReservation.as_str())
        .collect();
    assert_eq!(documented.last(), Some(&to.as_str()));
    assert_eq!(codes, documented);
    let cam = "cam".parse().expect("an id");
    terminal.accepted(&cam, wanted(false)).await;
    stack.finish().await;
}

fn wanted(in_past: bool) -> Window {
    if in_past { window(-3_600, 3 * 3_600) } else { window(TAKEN.0, TAKEN.1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_gets_the_first_code_of_all_it_breaks() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let late =
        stack.server("late", &[("late_booking", &"confirm"), ("lead_seconds", &86_400)]).await;
    let (mut terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let _worker = stack.worker();
    let foreign = other.accepted(&late, window(3_600, 60)).await.id;
    let own = terminal.accepted(&late, window(7_200, 60)).await.id;
    let (start, end) = window(9_000, 60);
    terminal.ask(&Command::request("used", server.as_str(), start, end)).await;
    stack.execute("update terminals set enabled = false", &[]).await;

    for (kind, command) in [
        ("reconfirm", Command::reconfirm as fn(String, &str, uuid::Uuid) -> Command),
        ("withdraw", Command::withdraw),
    ] {
        let mut codes = Vec::new();
        for (id, target, server) in [
            ("used", foreign, "cam"),
            ("used", foreign, "cam"),
            ("", foreign, "cam"),
            ("", own, "cam"),
            ("", own, "late"),
        ] {
            let id = if id.is_empty() { new_id() } else { id.to_owned() };
            let nth = terminal.answers_to(&id).len() + 1;
            terminal.client.send(&command(id.clone(), server, target)).await.expect("sent");
            let answer = terminal.nth_reply_to(&id, nth).await.answer().expect("an answer");
            codes.push(code(&answer).expect("refused").to_owned());
            stack.execute("update terminals set enabled = true", &[]).await;
        }
        stack.execute("update terminals set enabled = false", &[]).await;
        let expected = [
            "terminal_disabled",
            "idempotency_mismatch",
            "unknown_reservation",
            "inconsistent_message",
            "already_confirmed",
        ];
        assert_eq!(codes, expected, "{kind}");
    }
    stack.finish().await;
}
