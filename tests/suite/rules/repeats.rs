//! P2: a message id is decided once.

use holdfast::client::Command;
use holdfast::message::answer::Answer;

use super::Refused;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id, window};

/// Sends a command that was answered before and checks that its answer is the same to the byte.
async fn assert_repeats(terminal: &mut Terminal, command: &Command) {
    let before = terminal.answers_to(&command.message_id);
    terminal.client.send(command).await.expect("sent");
    let again = terminal.nth_reply_to(&command.message_id, before.len() + 1).await;
    let last = before.last().expect("answered before");
    assert_eq!(again.body, last.body);
    assert_eq!((&again.message_id, &again.type_name), (&last.message_id, &last.type_name));
    assert!(again.sent_at > last.sent_at, "the time is fresh");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_gets_the_same_bytes_whatever_has_happened_since() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let (start, end) = window(86_400, 60);
    let request = Command::request(new_id(), "cam", start, end);
    let Answer::Accepted { reservation, .. } = terminal.ask(&request).await else {
        panic!("not accepted");
    };
    let full = Command::request(new_id(), "cam", start, end);
    assert_eq!(code(&terminal.ask(&full).await), Some("capacity_exceeded"));
    let reconfirm = Command::reconfirm(new_id(), "cam", reservation.id);
    terminal.ask(&reconfirm).await;
    assert_repeats(&mut terminal, &request).await;

    let withdraw = Command::withdraw(new_id(), "cam", reservation.id);
    terminal.ask(&withdraw).await;
    let changed = "update servers set open = false, rate_minor = 1, slot_seconds = 7";
    stack.execute(changed, &[]).await;
    for command in [&request, &full, &reconfirm, &withdraw] {
        assert_repeats(&mut terminal, command).await;
    }
    // Twice at once, before and after it is decided.
    let twice = Command::request(new_id(), "cam", start, end);
    let fates = terminal.client.send_all(&[twice.clone(), twice.clone()]).await;
    assert_eq!(fates.expect("sent").len(), 2);
    let second = terminal.nth_reply_to(&twice.message_id, 2).await;
    assert_eq!(second.body, terminal.reply_to(&twice.message_id).await.body);
    let rows: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
    assert_eq!(rows, 5);
    let reservations: i64 = stack.ask("select count(*) from reservations", &[]).await;
    assert_eq!(reservations, 1);
    terminal.accepted(&stack.server("other", &[]).await, (start, end)).await;
    let _ = server;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_another_message_is_refused_and_changes_nothing() {
    let mut stack = Stack::new().await;
    for id in ["cam", "other"] {
        stack.server(id, &[]).await;
    }
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let (start, end) = window(86_400, 60);
    let original = Command::request(new_id(), "cam", start, end);
    let Answer::Accepted { reservation, .. } = terminal.ask(&original).await else {
        panic!("not accepted");
    };
    let id = original.message_id.as_str();
    let mut spaced = original.clone();
    spaced.body.push(b' ');
    let others = [
        Command::request(id, "cam", start, end + chrono::TimeDelta::seconds(1)),
        Command::request(id, "other", start, end),
        Command::reconfirm(id, "cam", reservation.id),
        Command::withdraw(id, "cam", reservation.id),
        spaced,
    ];
    for (index, command) in others.iter().enumerate() {
        terminal.client.send(command).await.expect("sent");
        let answer = terminal.nth_reply_to(id, index + 2).await.answer().expect("an answer");
        assert_eq!(Refused::of(answer), Refused::undecided("idempotency_mismatch", "new_id"));
    }
    let counts =
        "select array[(select count(*) from processed_commands), (select count(*) from history),
        (select count(*) from reservations where state = 'held')]";
    assert_eq!(stack.ask::<Vec<i64>>(counts, &[]).await, [1, 1, 1]);
    terminal.client.send(&original).await.expect("sent");
    let again = terminal.nth_reply_to(id, others.len() + 2).await;
    assert_eq!(again.body, terminal.reply_to(id).await.body, "the stored answer is kept");
    // In one batch too, whichever way the batch falls.
    let fresh = Command::request(new_id(), "other", start, end);
    let mut twin = fresh.clone();
    twin.body.push(b'\n');
    terminal.client.send_all(&[fresh.clone(), twin]).await.expect("sent");
    terminal.nth_reply_to(&fresh.message_id, 2).await;
    let answers = terminal.answers_to(&fresh.message_id);
    assert_eq!(answers[0].type_name, "reservation.accepted");
    assert_eq!(code(&answers[1].answer().expect("an answer")), Some("idempotency_mismatch"));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_of_another_terminal_is_another_message() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let (mut first, mut second) = (stack.terminal("ann").await, stack.terminal("ann").await);
    let _worker = stack.worker();
    let (start, end) = window(86_400, 60);
    let command = Command::request("same", "cam", start, end);
    let answer = first.ask(&command).await;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    assert_eq!(code(&second.ask(&command).await), Some("capacity_exceeded"));
    let shifted = Command::request("another", "cam", end, end + chrono::TimeDelta::seconds(60));
    second.ask(&shifted).await;
    let other_body = Command::request("another", "cam", start, end);
    assert_eq!(code(&first.ask(&other_body).await), Some("capacity_exceeded"));
    assert_repeats(&mut first, &command).await;
    assert_repeats(&mut second, &command).await;
    assert_repeats(&mut second, &shifted).await;
    assert_repeats(&mut first, &other_body).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_terminal_is_told_so_and_its_ids_stay_free() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let (mut terminal, mut second) = (stack.terminal("ann").await, stack.terminal("ann").await);
    let _worker = stack.worker();
    let held = terminal.accepted(&server, window(86_400, 60)).await.id;
    let switch = "update terminals set enabled = $2 where id = $1";
    stack.execute(switch, &[&terminal.id(), &false]).await;
    let (start, end) = window(90_000, 60);
    let commands = [
        Command::request(new_id(), "cam", start, end),
        Command::reconfirm(new_id(), "cam", held),
        Command::show(new_id(), held),
        Command::withdraw(new_id(), "cam", held),
    ];
    let mut waits = Vec::new();
    for command in &commands {
        let refused = Refused::of(terminal.ask(command).await);
        let retry_after_ms = refused.retry_after_ms;
        waits.extend(retry_after_ms);
        let expected =
            Refused { retry_after_ms, ..Refused::undecided("terminal_disabled", "same_id") };
        assert_eq!(refused, expected);
    }
    assert_eq!(waits.len(), commands.len());
    assert!(waits.iter().all(|wait| (5_000..=6_000).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]), "each has a jitter of its own: {waits:?}");
    let rows: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
    assert_eq!(rows, 1, "only what was decided before");
    second.reconfirm(&server, held).await;
    assert_eq!(stack.state(held).await, "reconfirmed", "the user's other terminal is enabled");

    stack.execute(switch, &[&terminal.id(), &true]).await;
    for (command, expected) in
        commands.iter().zip(["accepted", "reconfirmed", "shown", "withdrawn"])
    {
        terminal.client.send(command).await.expect("sent");
        let reply = terminal.nth_reply_to(&command.message_id, 2).await;
        assert_eq!(reply.type_name, format!("reservation.{expected}"));
    }
    stack.finish().await;
}
