//! What the endpoint does not do for those who ask.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::http::{endpoint, get, send};
use crate::support::stack::Stack;

/// More than the endpoint's bound on a head.
const SLOW: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn only_small_requests_to_read_are_answered() {
    let stack = Stack::new().await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    let request = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n{more}\r\n")
    };
    let long = format!("X: {}\r\n", "x".repeat(100_000));
    for (line, more, status) in [
        ("HEAD /live", "", 200),
        ("POST /live", "Content-Length: 0\r\n", 405),
        ("DELETE /metrics", "", 405),
        ("GET /", "", 404),
        ("GET /metrics/..", "", 404),
    ] {
        let answer = send(address, &request(line, more)).await.expect("an answer");
        assert_eq!(answer.status, status, "{line}: {answer:?}");
    }
    // It may be reset before all of it is written.
    let status = send(address, &request("GET /live", &long)).await.map(|answer| answer.status);
    assert!(!matches!(status, Ok(200)), "{status:?}");
    assert_eq!(get(address, "/live").await.status, 200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_request_is_left_and_does_not_keep_others_out() {
    let stack = Stack::new().await;
    let worker = stack.worker_to_ask(&[]);
    let address = endpoint(&worker).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(b"GET /live HT").await.expect("written");
        idle.push(stream);
    }
    let began = Instant::now();
    let left = timeout(SLOW, idle[0].read_to_end(&mut Vec::new())).await;
    assert!(left.is_ok(), "it is not kept for ever");
    drop(idle);
    assert_eq!(get(address, "/live").await.status, 200, "{:?}", began.elapsed());
    stack.finish().await;
}
