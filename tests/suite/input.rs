//! Bad input: a real client sends a table of wrong messages to a real worker, and nobody else is
//! affected. `docs/bad-input.md` lists the categories and their tests.

mod body;
mod broker;
mod dead;
mod envelope;
mod frames;
mod fuzz;
mod hostile;
mod listed;
pub mod message;
mod sizes;
mod text;

use holdfast::broker::connection::Connection;
use holdfast::broker::topology::DEAD;
use holdfast::client::Reply;
use holdfast::message::answer::Answer;

use self::message::Message;
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};

/// The expected outcome of a message.
#[derive(Clone, Copy)]
enum Expected {
    /// Refused without a decision, with this code and field.
    Refused(&'static str, Option<&'static str>),
    /// Decided as an ordinary request.
    Accepted,
}

struct Case {
    name: String,
    message: Message,
    expected: Expected,
}

fn refused(
    name: impl Into<String>,
    message: Message,
    code: &'static str,
    field: &'static str,
) -> Case {
    let field = (!field.is_empty()).then_some(field);
    Case { name: name.into(), message, expected: Expected::Refused(code, field) }
}

fn accepted(name: impl Into<String>, message: Message) -> Case {
    Case { name: name.into(), message, expected: Expected::Accepted }
}

/// Publishes one message and waits for its one reply.
async fn ask(terminal: &Terminal, connection: &Connection, case: &Case) -> Reply {
    let before = terminal.replies().len();
    let sent = case.message.publish(connection).await;
    assert_eq!(sent, Ok(()), "{}: the broker takes it", case.name);
    facts::found(&case.name, async || terminal.replies().into_iter().nth(before)).await
}

fn check(case: &Case, reply: &Reply) {
    let name = &case.name;
    let answer = reply.answer().unwrap_or_else(|_| panic!("{name}: no answer: {reply:?}"));
    match (case.expected, answer) {
        (Expected::Accepted, Answer::Accepted { .. }) => {}
        (
            Expected::Refused(code, field),
            Answer::Refused { code: told, retry, retry_after_ms, field: at, decided_at, .. },
        ) => {
            assert_eq!((told.as_str(), at.as_deref()), (code, field), "{name}");
            assert_eq!(
                (retry.as_str(), retry_after_ms, decided_at),
                ("never", None, None),
                "{name}"
            );
        }
        (_, other) => panic!("{name}: {other:?}"),
    }
    // An invalid message id is not repeated.
    let told = reply.correlation_id.as_deref();
    match case.expected {
        Expected::Refused("missing_message_id" | "invalid_message_id", _) => {
            assert_eq!(told, None, "{name}");
        }
        _ => assert_eq!(told, case.message.message_id.as_deref(), "{name}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_is_named_and_harms_nobody() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &1_000)]).await;
    let (mut terminal, bystander) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let mut worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");

    let mut cases = envelope::cases(terminal.id(), bystander.id());
    cases.extend(body::cases(terminal.id()));
    cases.extend(text::cases(terminal.id()));
    let mut taken = 0i64;
    for case in &cases {
        let reply = ask(&terminal, &connection, case).await;
        check(case, &reply);
        taken += i64::from(matches!(case.expected, Expected::Accepted));
    }
    terminal.accepted(&server, window(90_000, 60)).await;
    assert!(cases.len() > 200, "the table shrank to {}", cases.len());

    let rows: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
    assert_eq!(rows, taken + 1, "what was not decided left no trace");
    assert_eq!(terminal.replies().len(), cases.len() + 1, "one answer each");
    assert!(bystander.replies().is_empty(), "answers go to the sender, whatever reply_to says");
    assert!(stack.drain(DEAD).await.is_empty(), "whoever can be told is told");
    let log = worker.log();
    assert!(worker.runs() && !log.contains("panicked"));
    assert!(!log.contains('\u{1b}'), "what is logged cannot colour a terminal");
    assert!(!log.lines().any(|line| line.starts_with("level=error")), "or begin a line");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// The longest routing key, in bytes.
const KEY_LEN_MAX: usize = 255;

/// Publishes a message under a key that no queue is bound for, into the queue of `cam` all the same: the
/// broker sends it there too, and takes the header off.
fn under_key(message: Message, mut key: String) -> Message {
    key.truncate(key.floor_char_boundary(KEY_LEN_MAX));
    let bound = message.routing_key.clone();
    message.copied("BCC", &[&bound]).with(|m| m.routing_key = key)
}
