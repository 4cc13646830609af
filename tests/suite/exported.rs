//! Spans, as a collector gets them by OTLP over HTTP. Run with
//! `./dev test --features otel --test suite -- exported::`.

mod protobuf;

use std::sync::{Arc, Mutex};

use holdfast::client::Command;
use holdfast::domain::trace::Trace;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use self::protobuf::{Span, spans};
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{new_id, window};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

/// A collector.
#[derive(Default)]
struct Collector {
    spans: Mutex<Vec<Span>>,
}

impl Collector {
    /// Returns its endpoint, too.
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let collector = Arc::new(Self::default());
        let collecting = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(collecting.clone().collect(stream));
            }
        });
        (collector, endpoint)
    }

    async fn collect(self: Arc<Self>, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some((head, body)) = request(&mut stream).await {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.to_ascii_lowercase().contains("content-type: application/x-protobuf"));
            self.spans.lock().expect("no panics").extend(spans(&body));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("it is answered");
        }
    }

    fn all(&self) -> Vec<Span> {
        self.spans.lock().expect("no panics").clone()
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commands_trace_goes_on_in_the_worker_and_in_its_events() {
    let (collector, endpoint) = Collector::start().await;
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &10)]).await;
    let mut terminal = stack.terminal("ann").await;
    let exporting = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let mut worker = stack.worker_with(&exporting);
    let mut ids = Vec::new();
    for trace in [TRACE, UNSAMPLED] {
        let (start, end) = window(68, 60);
        let request = Command::request(new_id(), server.as_str(), start, end)
            .traced(Trace::read(Some(trace), None));
        let held = terminal.ask(&request).await.reservation().cloned().expect("a hold");
        terminal.notice_about(held.id).await;
        ids.push(request.message_id);
    }
    stack.outbox_empty().await;
    assert!(worker.stop().await.success());

    let spans = collector.all();
    let of_trace: Vec<&Span> = spans.iter().filter(|span| span.trace == TRACE_ID).collect();
    let named =
        |name: &str| -> Vec<&&Span> { of_trace.iter().filter(|span| span.name == name).collect() };
    let processed = named("process request");
    let [processed] = processed[..] else { panic!("{of_trace:#?}") };
    assert_eq!(processed.parent, SENDER);
    for (attribute, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.message.id", ids[0].as_str()),
        ("holdfast.outcome", "reservation.accepted"),
        ("holdfast.terminal", terminal.id()),
    ] {
        assert_eq!(processed.attribute(attribute), Some(value), "{processed:#?}");
    }
    let [(batch, _)] = &processed.links[..] else { panic!("{processed:#?}") };
    assert_eq!(named("publish reservation.cancelled").len(), 2, "the event, and the notice");

    let of_batch: Vec<&Span> = spans.iter().filter(|span| span.trace == *batch).collect();
    let whole = of_batch.iter().find(|span| span.name == "batch").expect("the batch");
    assert_eq!(whole.links, [(TRACE_ID.to_owned(), SENDER.to_owned())]);
    for phase in ["load", "decide", "save", "publish", "acknowledge"] {
        let found = of_batch.iter().find(|span| span.name == phase);
        assert_eq!(found.map(|span| &span.parent), Some(&whole.id), "{phase}: {of_batch:#?}");
    }
    let unsampled = UNSAMPLED.split('-').nth(1).expect("an id");
    assert!(spans.iter().all(|span| span.trace != unsampled), "its sender does not record it");
    stack.finish().await;
}

/// It accepts, and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_stalls_holds_up_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &100)]).await;
    let mut terminal = stack.terminal("ann").await;
    // A queue of a few spans: most are dropped.
    let mut worker = stack.worker_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
    ]);
    for _ in 0..20 {
        terminal.accepted(&server, window(600, 60)).await;
    }
    assert!(worker.stop().await.success());
    let log = worker.log();
    facts::until("what was dropped is logged", async || log.contains("SpansDropped")).await;
    drop(listener);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_is_a_warning() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ]);
    terminal.accepted(&server, window(600, 60)).await;
    assert!(worker.stop().await.success());
    let expected = "OTEL_EXPORTER_OTLP_PROTOCOL is \\\"grpc\\\", expected http/protobuf";
    assert!(worker.log().contains(expected), "{}", worker.log());
    stack.finish().await;
}
