//! What a gate answers, without a streaming server.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::guarded::{Guarded, hooks};
use crate::support::link::Link;
use crate::support::program::holdfast;
use crate::support::{facts, http};

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn publish(key: &str, client: u32) -> String {
    format!("app=live&call=publish&clientid={client}&name={key}")
}

fn play(name: &str, client: u32) -> String {
    format!("app=live&call=play&clientid={client}&name={name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_window_and_renames_its_stream() {
    let hooks = hooks();
    let guarded = Guarded::start("nginx-rtmp", hooks, NOWHERE, &[]).await;
    let open = guarded.reserve(-1.0, 300.0).await;
    let later = guarded.reserve(300.0, 300.0).await;
    guarded.planned().await;
    let (status, _) = guarded.hook("publish", &publish(&open.key, 1)).await;
    assert_eq!(status, 302);
    let name = open.id.to_string();
    assert_eq!(guarded.hook("play", &play(&name, 2)).await.0, 200);
    let denied = |code: &str| (403, code.to_owned());
    for (path, body, code) in [
        ("publish", publish(&later.key, 3), "too_early"),
        ("publish", publish("hfk_wrong", 3), "unknown_key"),
        ("publish", publish(&open.key, 3) + "&call=done", "unknown_key"),
        ("publish", publish(&open.key, 3) + "&clientid=1", "unknown_key"),
        ("publish", format!("name=nokey&{}", publish(&open.key, 3)), "unknown_key"),
        ("publish", play(&name, 3), "unknown_key"),
        ("play", play(&open.key, 3), "unknown_stream"),
        ("play", play(&name.to_uppercase(), 3), "unknown_stream"),
        ("play", play(&later.id.to_string(), 3), "too_early"),
        ("update", publish(&open.key, 3), "unknown_key"),
    ] {
        assert_eq!(guarded.hook(path, &body).await, denied(code), "{path} {body}");
    }
    assert!(!guarded.log().contains("hfk_"), "a key in the log");
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_bounded_and_old_clients_are_answered() {
    let hooks = hooks();
    let token = "0123456789abcdef";
    let more = [("HOLDFAST_GATE_HOOK_TOKEN", token)];
    let guarded = Guarded::start("nginx-rtmp", hooks, NOWHERE, &more).await;
    let open = guarded.reserve(-1.0, 300.0).await;
    guarded.planned().await;
    let body = publish(&open.key, 1);
    for path in ["publish", "0123456789abcdee/publish", token] {
        assert_eq!(guarded.hook(path, &body).await.0, 404, "{path}");
    }
    let path = format!("{token}/publish");
    let address = SocketAddr::from(([127, 0, 0, 1], hooks));
    // It says so before anything is sent.
    let head = format!("POST /{path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n");
    let long = http::send(address, &format!("{head}Content-Length: 17000\r\n\r\n")).await;
    assert_eq!(long.expect("an answer").status, 413);
    assert_eq!(http::get(address, &format!("/{path}")).await.status, 405);
    // As nginx asks.
    let mut stream = TcpStream::connect(("127.0.0.1", hooks)).await.expect("the gate");
    let head = format!(
        "POST /{path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Connection: Close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 302 "), "{answer}");
    assert!(answer.contains(&format!("location: {}\r\n", open.id)), "{answer}");
    assert!(answer.contains("sent-at: 20"), "{answer}");
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_without_the_database_admits_from_its_plan_for_a_while() {
    let (hooks, link) = (hooks(), Link::to_database());
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("plan.json").display().to_string();
    let more = [("HOLDFAST_GATE_PLAN_FILE", file.as_str())];
    let mut guarded = Guarded::start("nginx-rtmp", hooks, NOWHERE, &more).await;
    let open = guarded.reserve(-1.0, 300.0).await;
    guarded.planned().await;
    facts::until("the plan's file has it", async || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&open.id.to_string()))
    })
    .await;
    let text = std::fs::read_to_string(&file).expect("a plan");
    assert!(!text.contains("hfk_"), "a key in the plan's file");
    // The database is behind a link that says nothing, also to a gate that starts.
    link.hold();
    let away = link.url(&guarded.url);
    guarded.restart(&[("DATABASE_URL", &away)]);
    facts::until("the gate has its plan", async || {
        let ready = http::try_get(guarded.http, "/ready").await;
        ready.is_ok_and(|ready| ready.wrong("plan").is_none())
    })
    .await;
    guarded.gate.logged("going on with the plan of the last run").await;
    let admitted = guarded.hook("publish", &publish(&open.key, 7)).await;
    assert_eq!(admitted.0, 302);
    let short = [("DATABASE_URL", away.as_str()), ("HOLDFAST_GATE_STALE_MAX_SECONDS", "1")];
    guarded.restart(&short);
    facts::until("the plan is too old", async || {
        let answer = http::try_get(guarded.http, "/ready").await;
        answer
            .is_ok_and(|answer| answer.status == 503 && answer.body.contains("nobody is admitted"))
    })
    .await;
    let unknown = guarded.hook("publish", &publish(&open.key, 7)).await;
    assert_eq!(unknown, (503, String::new()), "never 403");
    guarded.finish().await;
}

/// The database's clock decides, whatever the gate's machine believes.
#[tokio::test(flavor = "multi_thread")]
async fn a_gates_own_clock_does_not_matter() {
    let Ok(library) = std::env::var("HOLDFAST_FAKETIME") else {
        return eprintln!("skipped: there is no HOLDFAST_FAKETIME to make a clock wrong with");
    };
    let hooks = hooks();
    let mut guarded = Guarded::start("nginx-rtmp", hooks, NOWHERE, &[]).await;
    let open = guarded.reserve(-1.0, 600.0).await;
    let later = guarded.reserve(600.0, 600.0).await;
    for wrong in ["+1h", "-1h"] {
        guarded.restart(&[
            ("LD_PRELOAD", &library),
            ("FAKETIME", wrong),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        facts::until("the gate has a plan", async || {
            let answer = http::try_get(guarded.http, "/ready").await;
            answer.is_ok_and(|answer| answer.wrong("plan").is_none())
        })
        .await;
        assert_eq!(guarded.hook("publish", &publish(&open.key, 1)).await.0, 302, "{wrong}");
        let early = guarded.hook("publish", &publish(&later.key, 2)).await;
        assert_eq!(early, (403, "too_early".to_owned()), "{wrong}");
    }
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_ends_quietly_and_says_what_is_wrong() {
    let hooks = hooks();
    let mut guarded = Guarded::start("nginx-rtmp", hooks, NOWHERE, &[]).await;
    let ready = http::get(guarded.http, "/ready").await;
    assert_eq!((ready.status, ready.wrong("plan")), (503, None));
    facts::until("the streaming server is missed", async || {
        let ready = http::get(guarded.http, "/ready").await;
        ready.wrong("streaming_server").is_some_and(|wrong| wrong.contains("does not answer"))
    })
    .await;
    assert!(guarded.gate.stop().await.success());
    assert!(guarded.log().contains("gate stopped"));
    // Configuration, and an account without rights.
    let own = [("DATABASE_URL", guarded.database.url.as_str())];
    let run = holdfast(&own, &["gate", "--adapter", "wowza", "--listen", "0.0.0.0:8070"]).await;
    assert_eq!(run.code, 78, "{run:?}");
    for expected in ["HOLDFAST_GATE_SERVER", "HOLDFAST_GATE_CONTROL_URL", "\"wowza\" is none of"] {
        assert!(run.stderr.contains(expected), "{expected}: {run:?}");
    }
    let open = ["gate", "--server", "cam", "--adapter", "icecast", "--control-url", NOWHERE];
    let words: Vec<&str> = open.into_iter().chain(["--listen", "0.0.0.0:8070"]).collect();
    let run = holdfast(&own, &words).await;
    assert!(run.code == 78 && run.stderr.contains("--hook-token"), "{run:?}");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", hooks)).expect("a port");
    let taken = format!("127.0.0.1:{hooks}");
    let words: Vec<&str> = open.into_iter().chain(["--listen", &taken]).collect();
    let run = holdfast(&own, &words).await;
    assert!(run.code == 1 && run.stderr.contains("choose another address"), "{run:?}");
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_admitted_one_connection_each() {
    const ASKED: u32 = 2_000;
    let hooks = hooks();
    let guarded = Guarded::start("nginx-rtmp", hooks, NOWHERE, &[]).await;
    let open = guarded.reserve(-1.0, 300.0).await;
    guarded.planned().await;
    let name = open.id.to_string();
    let began = tokio::time::Instant::now();
    let ask = async |client: u32| {
        let body = play(&name, client);
        let mut stream = TcpStream::connect(("127.0.0.1", hooks)).await.expect("the gate");
        let head = format!(
            "POST /play HTTP/1.0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    };
    let asked = futures::stream::iter((0..ASKED).map(|client| ask(client + 10)));
    futures::StreamExt::collect::<Vec<()>>(futures::StreamExt::buffer_unordered(asked, 16)).await;
    let rate = f64::from(ASKED) / began.elapsed().as_secs_f64();
    println!("{rate:.0} admissions a second, each over a connection of its own");
    guarded.finish().await;
}
