//! What is counted is what happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chrono::Utc;
use holdfast::broker::topology::partition_queue;
use holdfast::client::Command;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use uuid::Uuid;

use crate::input::message::Message;
use crate::support::facts;
use crate::support::http::{endpoint, get, until_ready};
use crate::support::program::promtool;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

/// Series other than zero, by name and labels.
type Series = BTreeMap<String, f64>;

async fn scrape(address: SocketAddr) -> Series {
    let text = get(address, "/metrics").await.body;
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let series = lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.to_owned(), value.parse().expect("a number"))
    });
    series.filter(|(_, value)| *value != 0.0).collect()
}

/// The series of a metric: labels and value.
fn of<'a>(series: &'a Series, name: &str) -> Vec<(&'a str, f64)> {
    let of = series.iter().filter(|(series, _)| {
        series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    });
    of.map(|(series, value)| (&series[name.len()..], *value)).collect()
}

async fn dead_letter(stack: &Stack) {
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let (queue, nobody) = (partition_queue(0), BasicProperties::default());
    let sent = channel.basic_publish("".into(), queue.into(), Default::default(), b"{}", nobody);
    sent.await.expect("sent");
    channel.close(200, "".into()).await.expect("the channel closes");
}

/// One of everything: a confirmed, a withdrawn and a lapsed reservation, a refusal, a repeat, queries, and
/// messages that are no commands.
async fn live(stack: &mut Stack, terminal: &mut Terminal) -> Vec<Uuid> {
    let server = stack.server("cam", &[]).await;
    let confirmed = terminal.accepted(&server, window(68, 60)).await.id;
    let withdrawn = terminal.accepted(&server, window(86_400, 60)).await.id;
    let other = stack.server("cam-2", &[]).await;
    let lapsing = terminal.accepted(&other, window(68, 60)).await.id;
    terminal.reconfirm(&server, confirmed).await;
    let (start, end) = window(86_400, 60);
    let command = Command::request(new_id(), "cam", start, end);
    assert_eq!(terminal.ask(&command).await.outcome(), "capacity_exceeded");
    terminal.client.send(&command).await.expect("sent again");
    terminal.nth_reply_to(&command.message_id, 2).await;
    terminal.withdraw(&server, withdrawn).await;
    terminal.show(confirmed).await;
    terminal.show(Uuid::nil()).await;
    let enqueued_at = AMQPValue::LongLongInt(Utc::now().timestamp_millis() - 10_000);
    let message = Message::request(terminal.id()).header("timestamp_in_ms", enqueued_at);
    let message = message.header("x-else", AMQPValue::LongInt(1));
    let connection = terminal.endpoint.connect("test").await.expect("the broker");
    let before = terminal.replies().len();
    message.publish(&connection).await.expect("the broker takes it");
    facts::until("it is answered", async || terminal.replies().len() > before).await;
    connection.close().await.expect("the connection closes");
    dead_letter(stack).await;
    stack.until_state(confirmed, "confirmed").await;
    stack.until_state(lapsing, "cancelled").await;
    vec![confirmed, withdrawn, lapsing]
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_counted_once_and_named_by_no_id() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    until_ready(address).await;
    let reservations = live(&mut stack, &mut terminal).await;
    stack.outbox_empty().await;
    let mut series = Series::new();
    facts::until("the dead letter and the bill are counted", async || {
        series = scrape(address).await;
        let published = of(&series, "holdfast_published_messages_total");
        let routed = |to: &str| {
            let labels = format!("{{to=\"{to}\",result=\"routed\"}}");
            published.iter().any(|(found, count)| *found == labels && *count >= 1.0)
        };
        routed("dead_letters") && routed("biller")
    })
    .await;
    let counted = |name: &str, expected: &[(&str, f64)]| {
        assert_eq!(of(&series, name), expected, "{name}: {series:#?}");
    };
    counted(
        "holdfast_commands_total",
        &[
            ("{kind=\"reconfirm\",outcome=\"reconfirmed\"}", 1.0),
            ("{kind=\"request\",outcome=\"accepted\"}", 3.0),
            ("{kind=\"request\",outcome=\"capacity_exceeded\"}", 1.0),
            ("{kind=\"unreadable\",outcome=\"forbidden_header\"}", 1.0),
            ("{kind=\"withdraw\",outcome=\"withdrawn\"}", 1.0),
        ],
    );
    counted("holdfast_commands_repeated_total", &[("{kind=\"request\"}", 1.0)]);
    counted(
        "holdfast_queries_total",
        &[
            ("{kind=\"show\",outcome=\"answered\"}", 1.0),
            ("{kind=\"show\",outcome=\"unknown_reservation\"}", 1.0),
        ],
    );
    counted("holdfast_charges_total", &[("", 1.0)]);
    counted("holdfast_dead_letters_total", &[("{reason=\"unauthenticated\"}", 1.0)]);
    let settled: f64 = of(&series, "holdfast_settlements_total").iter().map(|(_, n)| n).sum();
    let late = of(&series, "holdfast_settlement_lateness_seconds_count");
    let late: f64 = late.iter().map(|(_, count)| count).sum();
    assert_eq!((settled, late), (2.0, 2.0));
    // The broker of the tests does not say when it got a message; one message did.
    for name in ["holdfast_queue_seconds", "holdfast_answer_seconds"] {
        counted(&format!("{name}_count"), &[("", 1.0)]);
        let sum = of(&series, &format!("{name}_sum"))[0].1;
        assert!((5.0..60.0).contains(&sum), "{name}: {sum}");
    }
    let text = get(address, "/metrics").await.body;
    let ids = reservations.iter().map(Uuid::to_string);
    for id in ids.chain([terminal.id().to_owned(), "ann".to_owned(), "\"cam\"".to_owned()]) {
        assert!(!text.contains(&id), "{id} is in the metrics");
    }
    promtool(&["check", "metrics"], &text).await;
    stack.finish().await;
}
