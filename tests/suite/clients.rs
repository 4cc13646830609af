//! The examples, run as they stand, with broker accounts of their own. Those in other languages
//! prove that the contract is enough to write terminals and billing systems.

mod language;

use holdfast::broker::topology::{BILLING_QUEUE, reply_queue};
use lapin::BasicProperties;
use nix::sys::signal::Signal;
use uuid::Uuid;

use self::language::{Language, Ledger, TRACE};
use crate::support::program;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};
use crate::support::{engines, facts};

/// Seconds from now to the start of a reservation whose deadline, a minute before, leaves a busy
/// machine time to start an interpreter.
const SOON: i64 = 75;

/// What a terminal prints that has reserved the server `cam`.
const CONNECTION: &str = "rtmp://cam.example/live\n";

/// The arguments with which a terminal asks for half an hour on a server.
fn half_an_hour_on(server: &str) -> [String; 3] {
    let (start, end) = window(SOON, 1_800);
    [server.to_owned(), start.to_rfc3339(), end.to_rfc3339()]
}

/// Every charge and credit, in order.
async fn billed(stack: &Stack) -> Vec<String> {
    let query = "select id::text from billing_entries order by created_at";
    let rows = stack.db.query(query, &[]).await.expect("billing entries");
    rows.iter().map(|row| row.get(0)).collect()
}

/// A reservation that is confirmed and billed at once.
async fn billed_at_once(stack: &Stack, terminal: &mut Terminal) -> Uuid {
    let server = "late".parse().expect("an id");
    let confirmed = terminal.accepted(&server, window(30, 60)).await;
    stack.outbox_empty().await;
    confirmed.id
}

/// Puts an event on the billing queue.
async fn put(stack: &Stack, event: &[u8]) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let (queue, properties) = (BILLING_QUEUE.into(), BasicProperties::default());
    let sent = channel.basic_publish("".into(), queue, Default::default(), event, properties);
    sent.await.expect("sent");
    // Answered only when what was sent before is there.
    channel.close(200, "".into()).await.expect("the channel closes");
}

async fn a_reservation_is_made_and_billed(language: Language) {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let terminal = stack.terminal_account("ann").await;
    let biller = stack.biller_account().await;
    let _worker = stack.worker();

    let ledger = Ledger::new();
    let biller = language.start("biller", &biller, &["--count".into(), "1".into(), ledger.path()]);
    let terminal = language.start("terminal", &terminal, &half_an_hour_on("cam"));
    let run = terminal.ended().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, CONNECTION), "{run:?}");
    let run = biller.ended().await;
    assert_eq!(run.code, 0, "{run:?}");
    let entries = language.entries(&ledger).await;
    assert_eq!((entries.len(), entries), (1, billed(&stack).await));
    let traces = "select array_agg(distinct coalesce(traceparent, 'none')) from history";
    assert_eq!(stack.ask::<Vec<String>>(traces, &[]).await, [TRACE], "it passes its caller's on");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_reserves_and_bills() {
    a_reservation_is_made_and_billed(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reserves_and_bills() {
    a_reservation_is_made_and_billed(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_reserves_and_bills() {
    a_reservation_is_made_and_billed(Language::Rust).await;
}

async fn a_terminal_goes_on_after_losing_its_connection(language: Language) {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let terminal = stack.terminal_account("ann").await;
    let _worker = stack.worker();

    let mut arguments = half_an_hour_on("cam").to_vec();
    arguments.extend(["--order".to_owned(), "order-4711".to_owned()]);
    let first = language.start("terminal", &terminal, &arguments);
    facts::until("it has reconfirmed", async || {
        let query = "select count(*) from reservations where state = 'reconfirmed'";
        stack.ask::<i64>(query, &[]).await == 1
    })
    .await;
    // The one on which it waits for the outcome.
    let queue = reply_queue(terminal.account());
    facts::until("it waits on one connection", async || {
        engines::connections_of(terminal.account()).await == 1 && stack.depth(&queue).await.1 == 1
    })
    .await;
    engines::close_connections_of(terminal.account()).await;
    let run = first.ended().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, CONNECTION), "{run:?}");
    assert!(run.stderr.contains("starting over"), "{run:?}");

    // The same once more, as if it had not got so far: nothing happens twice.
    let run = language.start("terminal", &terminal, &arguments).ended().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, CONNECTION), "{run:?}");
    assert_eq!(stack.ask::<i64>("select count(*) from reservations", &[]).await, 1);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_goes_on_after_losing_its_connection() {
    a_terminal_goes_on_after_losing_its_connection(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_goes_on_after_losing_its_connection() {
    a_terminal_goes_on_after_losing_its_connection(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_goes_on_after_losing_its_connection() {
    a_terminal_goes_on_after_losing_its_connection(Language::Rust).await;
}

async fn a_refused_terminal_says_why(language: Language) {
    let mut stack = Stack::new().await;
    stack.server("closed", &[("open", &false)]).await;
    let terminal = stack.terminal_account("ann").await;
    let _worker = stack.worker();
    let refusals = [
        ("closed", "refused, server_closed: The server takes no new reservations."),
        // Returned by the broker.
        ("nowhere", "there is no such server"),
    ];
    for (server, why) in refusals {
        let run = language.start("terminal", &terminal, &half_an_hour_on(server)).ended().await;
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run:?}");
        assert!(run.stderr.contains(why), "{run:?}");
        assert!(!run.stderr.contains("starting over"), "{run:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_says_why_it_is_refused() {
    a_refused_terminal_says_why(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_says_why_it_is_refused() {
    a_refused_terminal_says_why(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_says_why_it_is_refused() {
    a_refused_terminal_says_why(Language::Rust).await;
}

async fn a_biller_stores_each_event_once(language: Language) {
    let mut stack = Stack::new().await;
    stack.server("late", &[("late_booking", &"confirm"), ("capacity", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let account = stack.biller_account().await;
    let _worker = stack.worker();

    // On the queue: a charge, the same again, something unknown, and the credit.
    let confirmed = billed_at_once(&stack, &mut terminal).await;
    let events = stack.drain(BILLING_QUEUE).await;
    assert_eq!(events.len(), 1);
    put(&stack, &events[0].data).await;
    put(&stack, &events[0].data).await;
    put(&stack, br#"{"type":"reservation.moved","id":"4f6c8d1a-0000-4000-8000-000000000000"}"#)
        .await;
    let id = confirmed.to_string();
    let words = ["reservation", "cancel", &id, "--reason", "broken", "--operator", "olga"];
    let run = program::holdfast(&[("DATABASE_URL", &stack.database_url)], &words).await;
    assert_eq!(run.code, 0, "{run:?}");
    stack.outbox_empty().await;
    facts::until("the credit is there", async || stack.depth(BILLING_QUEUE).await.0 == 4).await;
    let ledger = Ledger::new();
    let run = language
        .start("biller", &account, &["--count".into(), "2".into(), ledger.path()])
        .ended()
        .await;
    assert_eq!(run.code, 0, "{run:?}");
    let entries = language.entries(&ledger).await;
    assert_eq!((entries.len(), &entries), (2, &billed(&stack).await));
    facts::until("all is taken", async || stack.depth(BILLING_QUEUE).await == (0, 0)).await;

    // Another run knows what the first one has stored, and stops when it is told to.
    put(&stack, &events[0].data).await;
    billed_at_once(&stack, &mut terminal).await;
    let mut biller = language.start("biller", &account, &[ledger.path()]);
    let entries = billed(&stack).await;
    biller.says(&entries[2]).await;
    biller.signal(Signal::SIGTERM);
    let run = biller.ended().await;
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert_eq!(language.entries(&ledger).await, entries);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_bills_each_event_once() {
    a_biller_stores_each_event_once(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_bills_each_event_once() {
    a_biller_stores_each_event_once(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rust_bills_each_event_once() {
    a_biller_stores_each_event_once(Language::Rust).await;
}
