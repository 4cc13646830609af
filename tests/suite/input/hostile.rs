//! Messages made to harm the worker that handles them.

use std::time::Duration;

use holdfast::broker::topology::{DEAD, reply_queue};
use holdfast::message::answer::Answer;
use lapin::types::AMQPValue;
use serde_json::json;

use super::frames::{Frames, Properties, long, nested};
use super::message::{Message, text};
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The broker accepts header frames of up to 128 kB. An answer has more properties than a command
/// needs, so what it repeats must be short.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_passed_on_if_it_is_one() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &100)]).await;
    let terminal = stack.terminal("ann").await;
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let id = terminal.id().to_owned();
    // Answers stay in the queue, so that their headers can be checked.
    drop(terminal);
    let worker = stack.worker();
    let long = "0".repeat(130_900);
    let capitals = TRACE.to_uppercase();
    let traces = [TRACE, long.as_str(), &TRACE[1..], capitals.as_str(), "\u{1b}[31m", ""];
    let mut messages = Vec::new();
    for trace in traces {
        let message = Message::request(&id).header("traceparent", text(trace));
        assert_eq!(message.publish(&connection).await, Ok(()));
        messages.push((message, (trace == TRACE).then_some(trace)));
    }
    let queue = reply_queue(&id);
    let answered = async || stack.depth(&queue).await.0 as usize == messages.len();
    facts::until("all are answered", answered).await;
    for ((message, passed_on), answer) in messages.iter().zip(stack.drain(&queue).await) {
        let told = answer.properties.correlation_id().as_ref().map(|id| id.as_str());
        assert_eq!(told, message.message_id.as_deref());
        let headers = answer.properties.headers().clone().expect("headers");
        let trace = headers.inner().get("traceparent").map(|value| match value {
            AMQPValue::LongString(value) => value.to_string(),
            other => panic!("{other:?}"),
        });
        assert_eq!(trace.as_deref(), *passed_on);
    }
    assert!(!worker.log().contains("ended"), "no connection was lost over it");
    stack.finish().await;
}

/// Redelivered messages are isolated, in case one of them crashes its worker. That costs a
/// transaction each, so a sender must not be able to claim it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_cannot_pretend_that_its_message_was_redelivered() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &100)]).await;
    let mut terminal = stack.terminal("ann").await;
    for statement in [
        "create table isolated as select 1 as times where false",
        "create function note() returns trigger language plpgsql security definer as
            'begin insert into isolated values (1); return new; end'",
        "create trigger note before insert on delivery_attempts for each row execute function note()",
    ] {
        stack.execute(statement, &[]).await;
    }
    let _worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    for count in [AMQPValue::LongLongInt(9), AMQPValue::LongLongInt(i64::MIN), text("9")] {
        let message = Message::request(terminal.id()).header("x-delivery-count", count);
        assert_eq!(message.publish(&connection).await, Ok(()));
        terminal.reply_to(message.message_id.as_deref().expect("an id")).await;
    }
    terminal.accepted(&server, window(90_000, 60)).await;
    let times: i64 = stack.ask("select count(*) from isolated", &[]).await;
    assert_eq!(times, 0);
    stack.finish().await;
}

/// The broker passes on what the client library cannot parse: texts that are not UTF-8, and tables
/// so deep that parsing them takes more stack than a thread has.
#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_is_not_utf_8_harms_nobody_else() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &100)]).await;
    let (terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let worker = stack.worker();
    let (id, key) = (terminal.id().to_owned(), format!("{}.request", terminal.id()));
    let body = Message::request(&id).body;
    let odd_key = [id.as_bytes(), b".\xff"].concat();
    let too_long = [&b"A\xff"[..], &[b'a'; 200]].concat();
    let (deep, wide) = (nested(20_000), [b"S", &long(&[0xff; 1_000])[..]].concat());
    let good = || Properties::new(&id, "");
    let cases = [
        (Ok(()), Properties { correlation_id: b"\xff\xfe", ..good() }),
        (Ok(()), Properties { reply_to: b"\xff", app_id: b"\xc3", ..good() }),
        (Ok(()), good().header(b"\xff", b"V")),
        (Ok(()), good().header(b"note", &wide)),
        (Ok(()), good().header(b"note", &deep)),
        (Err("forbidden_header"), good().header(b"x-\xff", b"V")),
        (Err("unsupported_content"), Properties { content_type: b"application/js\xffn", ..good() }),
        (Err("inconsistent_message"), Properties { kind: b"reque\xff\xff", ..good() }),
        (Err("invalid_message_id"), Properties { message_id: b"\xff\xff", ..good() }),
        (Err("invalid_message_id"), Properties { message_id: b"\xed\xa0\x80", ..good() }),
        (Err("invalid_message_id"), Properties { message_id: &too_long, ..good() }),
    ];
    let mut frames = Frames::connect(&terminal.endpoint);
    for (index, (expected, properties)) in cases.iter().enumerate() {
        let message_id = new_id();
        let message_id: &[u8] = match properties.message_id {
            b"" => message_id.as_bytes(),
            odd => odd,
        };
        let properties =
            Properties { message_id, headers: properties.headers.clone(), ..*properties };
        frames.publish_raw(key.as_bytes(), &properties, &body);
        // Right after it, so in the same prefetch window.
        let asked = other.accepted(&server, window(90_000, 60));
        tokio::time::timeout(Duration::from_secs(30), asked).await.expect("another is served");
        check_told(*expected, &terminal, index).await;
    }
    frames.publish_raw(&odd_key, &Properties::new(&id, "odd-key"), &body);
    check_told(Err("unknown_command"), &terminal, cases.len()).await;
    assert!(!worker.log().contains("ended"), "no connection was lost over it");
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

/// The answer to the `index`-th message of the terminal: accepted, or refused with a code.
async fn check_told(expected: Result<(), &str>, terminal: &Terminal, index: usize) {
    let what = format!("the answer to message {index}");
    let reply = facts::found(&what, async || terminal.replies().into_iter().nth(index)).await;
    match (expected, reply.answer().expect("an answer")) {
        (Ok(()), Answer::Accepted { .. }) => {}
        (Err(code), Answer::Refused { code: told, .. }) => assert_eq!(told.as_str(), code),
        (_, other) => panic!("{what}: {other:?}"),
    }
}

/// The broker picks the partition by the first of two headers, the client library keeps the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_server_header_does_not_jump_the_queue() {
    let mut stack = Stack::with_partitions(2).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let mut of_partition = [None, None];
    for n in 0..20 {
        let server = stack.server(&format!("s{n}"), &[]).await;
        let id = terminal.accepted(&server, window(86_400, 60)).await.id;
        let query = "select partition from reservations where id = $1";
        let partition: i32 = stack.ask(query, &[&id]).await;
        of_partition[usize::try_from(partition).expect("small")] = Some(server);
    }
    let [Some(decoy), Some(wanted)] = of_partition else { panic!("all servers in one partition") };
    let (start, end) = window(90_000, 60);
    let body = json!({ "server": wanted.as_str(), "start_at": start, "end_at": end }).to_string();
    let doubled = [("server", decoy.as_str().as_bytes()), ("server", wanted.as_str().as_bytes())];
    let id = new_id();
    let mut frames = Frames::connect(&terminal.endpoint);
    frames.publish(terminal.id(), &id, &doubled, b"one", body.as_bytes());
    terminal.reply_to(&id).await;
    let query = "select count(distinct partition) from reservations where server_id = $1";
    assert_eq!(stack.ask::<i64>(query, &[&wanted.as_str()]).await, 1);
    stack.finish().await;
}
