//! Messages made to harm the worker that handles them.

use std::time::Duration;

use holdfast::broker::routes::{self, Route};
use holdfast::broker::topology::{DEAD, reply_queue};
use holdfast::client::Reply;
use holdfast::message::answer::Answer;
use lapin::types::AMQPValue;

use super::KEY_LEN_MAX;
use super::frames::{Frames, Properties, long, nested};
use super::message::{Message, text};
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id, window};

/// The code with which the broker returns a message that no queue takes.
const NO_ROUTE: u16 = 312;

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
    let (id, key) = (terminal.id().to_owned(), format!("{}.request.cam", terminal.id()));
    let body = Message::request(&id).body;
    let odd_key = [id.as_bytes(), b".\xff.cam"].concat();
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

/// The routing key and the header `BCC` can lead one message into several queues. Each queue judges its
/// copy by the routing key alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_anothers_queue_does_not_jump_the_queue() {
    let mut stack = Stack::with_partitions(2).await;
    let cam = stack.server("cam", &[("capacity", &2)]).await;
    stack.server("mic", &[]).await;
    let partition = "select partition from servers where id = $1";
    for (server, expected) in [("cam", 0), ("mic", 1)] {
        assert_eq!(stack.ask::<i32>(partition, &[&server]).await, expected);
    }
    let terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let id = terminal.id().to_owned();
    let to_mic = format!("{id}.request.mic");
    let stored = "select count(*) from processed_commands";

    // Only in the wrong queue: without the binding, the routing key leads nowhere.
    let way = [Route { server: "cam".to_owned(), partition: 0 }];
    routes::unbind(&stack.amqp, &way).await.expect("unbound");
    let message = Message::request(&id);
    assert_eq!(message.publish(&connection).await, Err(NO_ROUTE));
    let copied = message.clone().copied("BCC", &[&to_mic]);
    assert_eq!(copied.publish(&connection).await, Ok(()));
    let message_id = message.message_id.as_deref().expect("an id");
    let answer = terminal.reply_to(message_id).await.answer().expect("an answer");
    assert_eq!(code(&answer), Some("wrong_partition"));
    let Answer::Refused { retry, retry_after_ms, field, decided_at, .. } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(retry, "same_id");
    assert_eq!(field.as_deref(), Some("routing_key"));
    assert_eq!(decided_at, None);
    let wait = retry_after_ms.expect("a wait");
    assert!((5_000..=6_000).contains(&wait), "with jitter: {wait}");
    assert_eq!(stack.ask::<i64>(stored, &[]).await, 0, "nothing is decided");

    // The id is still free for the right queue.
    routes::bind(&stack.amqp, &way).await.expect("bound");
    assert_eq!(message.publish(&connection).await, Ok(()));
    let again = terminal.nth_reply_to(message_id, 2).await;
    assert_eq!(again.type_name, "reservation.accepted");
    // A copy of what is decided gets the stored answer, in whatever queue.
    routes::unbind(&stack.amqp, &way).await.expect("unbound");
    assert_eq!(copied.publish(&connection).await, Ok(()));
    assert_eq!(terminal.nth_reply_to(message_id, 3).await.body, again.body);
    routes::bind(&stack.amqp, &way).await.expect("bound");

    // In both queues at once it is decided once, by its own.
    let both = Message::request(&id).copied("BCC", &[&to_mic]);
    assert_eq!(both.publish(&connection).await, Ok(()));
    let both_id = both.message_id.as_deref().expect("an id");
    terminal.nth_reply_to(both_id, 2).await;
    let told = terminal.answers_to(both_id);
    let accepted: Vec<&Reply> =
        told.iter().filter(|reply| reply.type_name == "reservation.accepted").collect();
    let others = told.iter().filter(|reply| reply.type_name != "reservation.accepted");
    for other in others {
        let answer = other.answer().expect("an answer");
        assert_eq!(code(&answer), Some("wrong_partition"));
    }
    assert!(accepted.iter().all(|reply| reply.body == accepted[0].body));
    assert!(!accepted.is_empty());
    let partitions = "select array_agg(distinct partition) from reservations where server_id = $1";
    assert_eq!(stack.ask::<Vec<i32>>(partitions, &[&cam.as_str()]).await, [0]);
    assert_eq!(stack.ask::<i64>(stored, &[]).await, 2);
    stack.finish().await;
}

/// `CC` stays on the message, so every queue refuses its copy.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_copy_is_refused_in_every_queue() {
    let mut stack = Stack::with_partitions(2).await;
    for server in ["cam", "mic"] {
        stack.server(server, &[]).await;
    }
    let terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let own = |rest: &str| format!("{}.{rest}", terminal.id());
    let keys = [own("request.mic"), own("list")];
    let message =
        Message::request(terminal.id()).copied("CC", &keys.each_ref().map(String::as_str));
    assert_eq!(message.publish(&connection).await, Ok(()));
    terminal.nth_reply_to(message.message_id.as_deref().expect("an id"), 3).await;
    for reply in terminal.replies() {
        let Ok(Answer::Refused { code, field, .. }) = reply.answer() else { panic!("{reply:?}") };
        assert_eq!((code.as_str(), field.as_deref()), ("forbidden_header", Some("headers.CC")));
    }
    let stored = "select count(*) from processed_commands";
    assert_eq!(stack.ask::<i64>(stored, &[]).await, 0);
    stack.finish().await;
}

/// A query among a server's commands, or a command among the queries, is no command there. Where it
/// belongs, it is served.
#[tokio::test(flavor = "multi_thread")]
async fn commands_and_queries_keep_to_their_queues() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let own = |rest: &str| format!("{}.{rest}", terminal.id());
    let list = Message::command(terminal.id(), "list", "{}");
    for (message, other, served) in [
        (Message::request(terminal.id()), own("list"), "reservation.accepted"),
        (list, own("request.cam"), "reservation.listed"),
    ] {
        assert_eq!(message.clone().copied("BCC", &[&other]).publish(&connection).await, Ok(()));
        let id = message.message_id.as_deref().expect("an id");
        terminal.nth_reply_to(id, 2).await;
        let (mut as_wanted, mut elsewhere) = (0, 0);
        for reply in terminal.answers_to(id) {
            match reply.answer().expect("an answer") {
                Answer::Refused { code, field, retry, decided_at, .. } => {
                    assert_eq!((code.as_str(), retry.as_str()), ("unknown_command", "never"));
                    assert_eq!((field.as_deref(), decided_at), (Some("routing_key"), None));
                    elsewhere += 1;
                }
                _ => {
                    assert_eq!(reply.type_name, served);
                    as_wanted += 1;
                }
            }
        }
        assert_eq!((as_wanted, elsewhere), (1, 1), "{served}");
    }
    let kinds = "select array_agg(kind) from processed_commands";
    assert_eq!(stack.ask::<Vec<String>>(kinds, &[]).await, ["request"], "no query is stored");
    stack.finish().await;
}

/// What names no server is returned, whatever the form of its routing key. No worker sees it.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_queue_is_bound_for_is_returned() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let worker = stack.worker();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    let long = |len: usize, end: &str| {
        let rest = len - terminal.id().len() - ".request.".len() - end.len();
        format!("request.{}{end}", "c".repeat(rest))
    };
    for rest in [
        "",
        ".",
        "..",
        "...",
        "cam",
        "request",
        "reconfirm",
        "withdraw",
        "refund",
        "wake_up",
        "request.",
        "request.cam.",
        "request..cam",
        "request.cam.cam",
        ".request.cam",
        "request.other",
        "reconfirm.other",
        "withdraw.other",
        "request.CAM",
        "request.cam ",
        "request.ca",
        "request.cam\0",
        "request.*",
        "request.#",
        "request.p0",
        "request.0",
        "show.",
        "show.other",
        "list.cam.x",
        "availability.other",
        "Show",
        "list ",
        &long(100, ""),
        &long(KEY_LEN_MAX, ""),
        &long(KEY_LEN_MAX, ".cam"),
    ] {
        let key = format!("{}.{rest}", terminal.id());
        let message = Message::request(terminal.id()).with(|m| m.routing_key = key.clone());
        assert_eq!(message.publish(&connection).await, Err(NO_ROUTE), "{key:?}");
    }
    terminal.accepted(&server, window(90_000, 60)).await;
    assert_eq!(terminal.replies().len(), 1, "none of it reached a worker");
    let stored = "select count(*) from processed_commands";
    assert_eq!(stack.ask::<i64>(stored, &[]).await, 1);
    assert!(stack.drain(DEAD).await.is_empty());
    assert!(!worker.log().contains("dead letter"));
    stack.finish().await;
}
