//! Icecast from the distribution's package, with sources and listeners over plain HTTP.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;

use super::guarded::{Guarded, Reserved, SERVER, hooks};
use crate::support::facts;
use crate::support::streaming::Server;

async fn guarded() -> Option<(Guarded, Server)> {
    let hooks = hooks();
    let server = Server::icecast(hooks).await?;
    let guarded = Guarded::start("icecast", hooks, &server.control, &[]).await;
    Some((guarded, server))
}

/// A source that sends until it is cut off.
pub(super) struct Source(tokio::task::JoinHandle<()>);

impl Source {
    /// Connects with a key; the status tells whether it is let in.
    pub async fn connect(server: &Server, name: &str, key: &str) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("Icecast");
        let account = STANDARD.encode(format!("source:{key}"));
        let head = format!(
            "PUT /{name} HTTP/1.1\r\nHost: icecast\r\nAuthorization: Basic {account}\r\n\
             Content-Type: audio/mpeg\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("a head");
        match status(&mut stream).await {
            100 | 200 => Ok(Self(tokio::spawn(send(stream)))),
            status => Err(status),
        }
    }

    fn runs(&self) -> bool {
        !self.0.is_finished()
    }

    pub async fn end(self) {
        facts::until("the source is cut off", async || !self.runs()).await;
    }
}

/// Silence in MPEG audio: a header and zeroes, some frames every so often.
async fn send(mut stream: TcpStream) {
    let mut frame = vec![0; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
    let mut due = interval(Duration::from_millis(50));
    let mut said = [0; 64];
    loop {
        tokio::select! {
            _ = due.tick() => if stream.write_all(&frame).await.is_err() { return },
            read = stream.read(&mut said) => if !matches!(read, Ok(1..)) { return },
        }
    }
}

/// A listener that reads until it is cut off; the status tells whether it is let in.
async fn listen(server: &Server, name: &str) -> Result<tokio::task::JoinHandle<()>, u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.expect("Icecast");
    let head = format!("GET /{name} HTTP/1.0\r\nHost: icecast\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("a head");
    match status(&mut stream).await {
        200 => Ok(tokio::spawn(async move {
            let mut heard = vec![0; 4_096];
            while matches!(stream.read(&mut heard).await, Ok(1..)) {}
        })),
        status => Err(status),
    }
}

async fn status(stream: &mut TcpStream) -> u16 {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head);
    head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status")
}

async fn live(server: &Server, reserved: &Reserved) -> Source {
    facts::found("the source is let in", async || {
        Source::connect(server, &reserved.id.to_string(), &reserved.key).await.ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_and_listeners_are_admitted_by_their_reservation() {
    let Some((guarded, server)) = guarded().await else { return };
    guarded
        .database
        .accepts(&format!("update servers set viewers_max = 2 where id = '{SERVER}'"))
        .await;
    let open = guarded.reserve(-1.0, 300.0).await;
    let later = guarded.reserve(300.0, 300.0).await;
    guarded.planned().await;
    let name = open.id.to_string();
    for (name, key, code) in [
        (name.as_str(), later.key.as_str(), "unknown_key"),
        (&later.id.to_string(), &later.key, "too_early"),
        (&name, "hfk_wrong", "unknown_key"),
        ("stream", &open.key, "unknown_key"),
        (&name, "change-me-too", "unknown_key"),
    ] {
        let before = guarded.log().matches(&format!("code={code}")).count();
        assert_eq!(Source::connect(&server, name, key).await.err(), Some(401), "{name} {key}");
        let denied = || guarded.log().matches(&format!("code={code}")).count() > before;
        facts::until(&format!("denied as {code}"), async || denied()).await;
    }
    let source = live(&server, &open).await;
    let first = facts::found("heard", async || listen(&server, &name).await.ok()).await;
    let _second = listen(&server, &name).await.expect("the second");
    assert_eq!(listen(&server, &name).await.err(), Some(401), "full");
    assert_eq!(listen(&server, &later.id.to_string()).await.err(), Some(401), "too early");
    first.abort();
    let _third = facts::found("a place is free", async || listen(&server, &name).await.ok()).await;
    guarded.cancel(&open).await;
    source.end().await;
    assert!(Source::connect(&server, &name, &open.key).await.is_err(), "it stays out");
    assert!(!guarded.log().contains("hfk_") && !server.logs().contains("hfk_"), "a key in a log");
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_ends_with_its_window_and_its_use_is_recorded() {
    let Some((guarded, server)) = guarded().await else { return };
    let open = guarded.reserve(-1.0, 20.0).await;
    guarded.planned().await;
    let dead = live(&server, &open).await;
    let recorded = async |how: &str| {
        let query = format!("select count(*) from access_use where {how}");
        guarded.database.ask::<i64>(&query).await
    };
    facts::until("the session is recorded", async || recorded("true").await == 1).await;
    let began = tokio::time::Instant::now();
    // The same key takes over, and the records tell one session from the other.
    let source = live(&server, &open).await;
    dead.end().await;
    let listener =
        facts::found("heard", async || listen(&server, &open.id.to_string()).await.ok()).await;
    let listening = async {
        facts::until("the listener is cut off", async || listener.is_finished()).await;
        let (end, now) = guarded.end_and_now(&open).await;
        now - end
    };
    let late = listening.await;
    let used = began.elapsed().as_secs_f64();
    source.end().await;
    assert!(late >= TimeDelta::zero(), "before the end: {late}");
    println!("the listener ends {} ms after the window", late.num_milliseconds());
    facts::until("the use is recorded", async || recorded("ended is not null").await == 2).await;
    let query = "select ended, seconds from access_use order by first_at";
    let rows = guarded.database.client.query(query, &[]).await.expect("rows");
    let ended: Vec<&str> = rows.iter().map(|row| row.get("ended")).collect();
    assert_eq!(ended, ["taken_over", "over"]);
    let seconds: i32 = rows[1].get("seconds");
    assert!((f64::from(seconds) - used).abs() <= 2.0, "{seconds} of {used}");
    let watched = "select count(*) from gate_coverage where until_at > from_at";
    assert_eq!(guarded.database.ask::<i64>(watched).await, 1, "watched without a break");
    guarded.finish().await;
}
