//! Traces: what a command leads to, at once or days later, can be followed back to it.

use holdfast::broker::topology::{BILLING_QUEUE, EVENTS_EXCHANGE};
use holdfast::client::Command;
use holdfast::domain::id::ServerId;
use holdfast::domain::trace::Trace;
use holdfast::message::answer::Answer;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use uuid::Uuid;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

const REQUESTED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const RECONFIRMED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

fn trace(parent: &str) -> Option<Trace> {
    Trace::read(Some(parent), Some(STATE))
}

/// Requests within a trace, with the deadline in `seconds`; checks the answer's, too.
async fn held(
    terminal: &mut Terminal,
    server: &ServerId,
    seconds: i64,
    trace: Option<Trace>,
) -> Uuid {
    let (start, end) = window(seconds + 60, 60);
    let command = Command::request(new_id(), server.as_str(), start, end).traced(trace.clone());
    terminal.client.send(&command).await.expect("sent");
    let reply = terminal.reply_to(&command.message_id).await;
    assert_eq!(reply.trace, trace, "the answer's");
    match reply.answer() {
        Ok(Answer::Accepted { reservation, .. }) => reservation.id,
        other => panic!("{other:?}"),
    }
}

async fn reconfirm(terminal: &mut Terminal, server: &ServerId, id: Uuid, trace: Option<Trace>) {
    let command = Command::reconfirm(new_id(), server.as_str(), id).traced(trace.clone());
    terminal.client.send(&command).await.expect("sent");
    assert_eq!(terminal.reply_to(&command.message_id).await.trace, trace);
}

/// The trace of the notice about a reservation.
async fn noticed(terminal: &Terminal, id: Uuid) -> Option<Trace> {
    terminal.notice_about(id).await;
    let replies = terminal.replies().into_iter().filter(|reply| reply.correlation_id.is_none());
    let mut about =
        replies.filter(|reply| reply.notice().expect("a notice").reservation().id == id);
    about.next().expect("it is here").trace
}

/// The `traceparent` of each change of a reservation.
async fn history(stack: &Stack, id: Uuid) -> Vec<Option<String>> {
    let query = "select traceparent from history where reservation_id = $1 order by seq";
    let rows = stack.db.query(query, &[&id]).await.expect("history");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Everything that subscribers can tell one sending of a message from another by.
fn as_received(delivery: &Delivery) -> String {
    format!("{:?} {:?} {:?}", delivery.routing_key, delivery.properties, delivery.data)
}

fn header(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(value) => Some(value.to_string()),
        other => panic!("{other:?}"),
    }
}

/// A queue that gets a copy of each event.
async fn subscribed(stack: &Stack) -> String {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let queue = stack.named("subscriber");
    let name = || queue.as_str().into();
    channel.queue_declare(name(), Default::default(), Default::default()).await.expect("a queue");
    let (exchange, every) = (EVENTS_EXCHANGE.into(), "#".into());
    let bound = channel.queue_bind(name(), exchange, every, Default::default(), Default::default());
    bound.await.expect("bound");
    queue
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leads_to_belongs_to_its_trace() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &10)]).await;
    let mut terminal = stack.terminal("ann").await;
    let subscriber = subscribed(&stack).await;
    let _worker = stack.worker();
    let confirmed = held(&mut terminal, &server, 4, trace(REQUESTED)).await;
    reconfirm(&mut terminal, &server, confirmed, trace(RECONFIRMED)).await;
    let cancelled = held(&mut terminal, &server, 4, trace(REQUESTED)).await;
    let untraced = held(&mut terminal, &server, 4, None).await;
    let by_operator = held(&mut terminal, &server, 600, trace(REQUESTED)).await;
    reconfirm(&mut terminal, &server, by_operator, None).await;
    let cancel = format!("reservation cancel {by_operator} --reason test --operator olga");
    stack.operate(&[], &cancel, 0).await;

    for (id, expected) in [
        (confirmed, trace(RECONFIRMED)),
        (cancelled, trace(REQUESTED)),
        (untraced, None),
        (by_operator, trace(REQUESTED)),
    ] {
        assert_eq!(noticed(&terminal, id).await, expected);
    }
    let [first, second] = [REQUESTED, RECONFIRMED].map(|trace| Some(trace.to_owned()));
    assert_eq!(history(&stack, confirmed).await, [first.clone(), second.clone(), second.clone()]);
    assert_eq!(history(&stack, cancelled).await, [first.clone(), first.clone()]);
    assert_eq!(history(&stack, untraced).await, [None, None]);
    assert_eq!(history(&stack, by_operator).await, [first.clone(), None, first.clone()]);

    stack.outbox_empty().await;
    let copies = stack.drain(&subscriber).await;
    let traced = |type_name: &str, parent: &Option<String>| {
        let typed = |copy: &&Delivery| {
            copy.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == type_name)
        };
        let of = copies.iter().filter(typed).filter(|copy| header(copy, "traceparent") == *parent);
        let stated = of.filter(|copy| header(copy, "tracestate").is_some() == parent.is_some());
        stated.count()
    };
    assert_eq!(traced("reservation.confirmed", &second), 1);
    assert_eq!(traced("reservation.cancelled", &first), 2);
    assert_eq!(traced("reservation.cancelled", &None), 1);
    for line in ["show", "history"] {
        let run = stack.operate(&[], &format!("reservation {line} {confirmed}"), 0).await;
        assert!(run.stdout.contains(RECONFIRMED), "{}", run.stdout);
    }
    stack.finish().await;
}

/// As after the loss of a worker, or on a biller's wish.
#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_is_published_again_is_the_same() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let confirmed = held(&mut terminal, &server, 4, trace(REQUESTED)).await;
    reconfirm(&mut terminal, &server, confirmed, trace(RECONFIRMED)).await;
    stack.until_state(confirmed, "confirmed").await;
    stack.outbox_empty().await;
    let first = stack.drain(BILLING_QUEUE).await;
    let [first] = &first[..] else { panic!("{first:?}") };
    assert_eq!(header(first, "traceparent").as_deref(), Some(RECONFIRMED));
    assert_eq!(header(first, "tracestate").as_deref(), Some(STATE));

    let again =
        "insert into outbox (outbox_message_id) select id from outbox_messages where must_route";
    assert_eq!(stack.execute(again, &[]).await, 1);
    stack.execute("notify holdfast_outbox", &[]).await;
    let arrived = async || stack.depth(BILLING_QUEUE).await.0 == 1;
    facts::until("it is published again", arrived).await;
    let second = stack.drain(BILLING_QUEUE).await;
    assert_eq!(second.iter().map(as_received).collect::<Vec<_>>(), [as_received(first)]);
    stack.finish().await;
}
