//! nginx-rtmp from the distribution's package, encoders and viewers: all of it real.

use std::time::Duration;

use chrono::TimeDelta;
use nix::sys::signal::Signal;

use super::guarded::{Guarded, Reserved, SERVER, hooks};
use crate::support::streaming::{self, Running, Server, publish, shows, watch};
use crate::support::{facts, http};

/// A gate and its nginx; `None`: there is none here.
async fn guarded() -> Option<(Guarded, Server)> {
    let hooks = hooks();
    if !streaming::has_ffmpeg() {
        return None;
    }
    let server = Server::nginx(hooks).await?;
    let guarded = Guarded::start("nginx-rtmp", hooks, &server.control, &[]).await;
    Some((guarded, server))
}

/// Publishes, and waits until the server shows it under its public name.
async fn live(server: &Server, reserved: &Reserved) -> Running {
    let mut publisher = publish(&server.rtmp(&reserved.key)).await;
    let name = server.rtmp(&reserved.id.to_string());
    facts::until("the stream shows", async || {
        assert!(publisher.runs(), "the publisher was refused");
        shows(&name).await
    })
    .await;
    publisher
}

/// Watches, and waits until that is admitted.
async fn viewer(guarded: &Guarded, server: &Server, reserved: &Reserved) -> Running {
    let admitted = || guarded.log().matches("admitted role=\"viewer\"").count();
    let before = admitted();
    let viewer = watch(&server.rtmp(&reserved.id.to_string()));
    facts::until("the viewer is admitted", async || admitted() > before).await;
    viewer
}

/// An encoder that is not let in.
async fn refused(server: &Server, name: &str) {
    let mut encoder = publish(&server.rtmp(name)).await;
    assert!(!encoder.end().await.success(), "an encoder was let in");
}

/// Nothing that is kept or told has a key in it.
async fn assert_no_key(guarded: &Guarded, server: &Server) {
    assert!(!guarded.log().contains("hfk_"), "a key in the gate's log");
    assert!(!server.logs().contains("hfk_"), "a key in the server's log");
    let found: i64 = guarded
        .database
        .ask(
            "select count(*) from access_use u, gate_coverage c
             where u::text like '%hfk\\_%' or c::text like '%hfk\\_%'",
        )
        .await;
    assert_eq!(found, 0, "a key in a table");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_reserved_is_admitted_and_nobody_else() {
    let Some((guarded, server)) = guarded().await else { return };
    let open = guarded.reserve(-1.0, 300.0).await;
    let later = guarded.reserve(300.0, 300.0).await;
    let over = guarded.reserve(-30.0, 29.0).await;
    let cancelled = guarded.reserve(-1.0, 300.0).await;
    let elsewhere = guarded.reserve_at("other", -1.0, 300.0).await;
    guarded.cancel(&cancelled).await;
    guarded.planned().await;
    let _publisher = live(&server, &open).await;
    assert!(!shows(&server.rtmp(&open.key)).await, "the key is no public name");
    for (key, code) in [
        (later.key.as_str(), "too_early"),
        (&over.key, "over"),
        (&cancelled.key, "cancelled"),
        (&elsewhere.key, "unknown_key"),
        ("hfk_wrong", "unknown_key"),
        // Its public name is no key.
        (&open.id.to_string(), "unknown_key"),
        // What a parser believes that takes the last of several values.
        ("nokey?call=publish_done", "unknown_key"),
        (&format!("nokey?name={}", open.key), "unknown_key"),
    ] {
        let before = guarded.log().matches(&format!("code={code}")).count();
        refused(&server, key).await;
        let denied = || guarded.log().matches(&format!("code={code}")).count() > before;
        facts::until(&format!("{key} is denied as {code}"), async || denied()).await;
    }
    let rotated = guarded.rotate(&open).await;
    guarded.planned().await;
    refused(&server, &open.key).await;
    let _publisher = live(&server, &rotated).await;
    assert_no_key(&guarded, &server).await;
    guarded.finish().await;
}

/// Waits for the end of a client, and returns how long after the window's end it came.
async fn lateness(guarded: &Guarded, reserved: &Reserved, mut client: Running) -> TimeDelta {
    client.end().await;
    let (end, now) = guarded.end_and_now(reserved).await;
    now - end
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_and_viewers_are_gone_at_the_end_and_not_before() {
    let Some((guarded, server)) = guarded().await else { return };
    guarded.database.accepts("update servers set capacity = 20").await;
    let mut reserved = Vec::new();
    for n in 0..20 {
        reserved.push(guarded.reserve(-1.0, 25.0 + f64::from(n) * 0.3).await);
    }
    guarded.planned().await;
    let mut clients = Vec::new();
    for (n, reserved) in reserved.iter().enumerate() {
        clients.push((reserved, publish(&server.rtmp(&reserved.key)).await));
        if n % 5 == 0 {
            facts::until("the stream shows", async || {
                shows(&server.rtmp(&reserved.id.to_string())).await
            })
            .await;
            clients.push((reserved, watch(&server.rtmp(&reserved.id.to_string()))));
        }
    }
    facts::until("all are live", async || {
        let control = server.control.trim_start_matches("http://").parse().expect("an address");
        let stat = http::get(control, "/stat").await.body;
        stat.matches("<publishing/><active/></client>").count() == 20
    })
    .await;
    let late = clients.into_iter().map(|(reserved, client)| lateness(&guarded, reserved, client));
    let mut late: Vec<i64> =
        futures::future::join_all(late).await.iter().map(TimeDelta::num_milliseconds).collect();
    late.sort_unstable();
    println!("clients end after the window, in ms: {late:?}");
    assert!(late[0] >= 0, "before the end: {late:?}");
    // One second is the promise on a machine that is not busy with other tests.
    assert!(late[late.len() / 2] < 1_000, "{late:?}");
    refused(&server, &reserved[19].key).await;
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_ends_the_stream_and_an_extension_does_not() {
    let Some((guarded, server)) = guarded().await else { return };
    let extended = guarded.reserve(-1.0, 12.0).await;
    let cancelled = guarded.reserve(-1.0, 300.0).await;
    guarded.planned().await;
    let mut staying = live(&server, &extended).await;
    let mut leaving = live(&server, &cancelled).await;
    let mut viewer = viewer(&guarded, &server, &cancelled).await;
    guarded.end_in(&extended, 300.0).await;
    guarded.cancel(&cancelled).await;
    leaving.end().await;
    viewer.end().await;
    refused(&server, &cancelled.key).await;
    let began = tokio::time::Instant::now();
    facts::until("the first end is past", async || began.elapsed() > Duration::from_secs(13)).await;
    assert!(staying.runs(), "it was extended");
    guarded.end_in(&extended, 1.0).await;
    staying.end().await;
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_not_locked_out_by_its_own_dead_connection() {
    let Some((guarded, server)) = guarded().await else { return };
    let open = guarded.reserve(-1.0, 300.0).await;
    guarded.planned().await;
    let mut dead = live(&server, &open).await;
    let mut viewer = viewer(&guarded, &server, &open).await;
    dead.signal(Signal::SIGSTOP);
    let mut again = live(&server, &open).await;
    guarded.gate.logged("disconnecting for another").await;
    assert!(viewer.runs(), "viewers stay");
    // Two encoders with one key do not throw each other out for ever.
    dead.signal(Signal::SIGCONT);
    dead.end().await;
    refused(&server, &open.key).await;
    guarded.gate.logged("code=busy").await;
    assert!(again.runs());
    guarded.finish().await;
}

/// One place, and one reservation after the other without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_handed_over_and_never_has_two() {
    let Some((guarded, server)) = guarded().await else { return };
    guarded.database.accepts("update servers set capacity = 1").await;
    let first = guarded.reserve(-1.0, 15.0).await;
    let second = guarded.reserve_after(&first, 300.0).await;
    guarded.planned().await;
    let mut leaving = live(&server, &first).await;
    let mut most = 0;
    let control = server.control.trim_start_matches("http://").parse().expect("an address");
    let mut coming = publish(&server.rtmp(&second.key)).await;
    facts::until("the second is live", async || {
        // An encoder that is refused tries again.
        if !coming.runs() {
            coming = publish(&server.rtmp(&second.key)).await;
        }
        let stat = http::get(control, "/stat").await.body;
        most = most.max(stat.matches("<publishing/><active/></client>").count());
        stat.contains(&second.id.to_string())
    })
    .await;
    leaving.end().await;
    assert_eq!(most, 1, "two at a time");
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_as_many_as_allowed() {
    let Some((guarded, server)) = guarded().await else { return };
    guarded
        .database
        .accepts(&format!("update servers set viewers_max = 3 where id = '{SERVER}'"))
        .await;
    let open = guarded.reserve(-1.0, 300.0).await;
    guarded.planned().await;
    let _publisher = publish(&server.rtmp(&open.key)).await;
    let name = server.rtmp(&open.id.to_string());
    facts::until("the stream shows", async || shows(&name).await).await;
    let mut viewers: Vec<Running> = (0..3).map(|_| watch(&name)).collect();
    let admitted = || guarded.log().matches("admitted role=\"viewer\"").count();
    facts::until("three are in", async || admitted() >= 4).await;
    facts::until("the fourth is denied", async || {
        let _fourth = shows(&name).await;
        guarded.log().contains("code=full")
    })
    .await;
    viewers.pop();
    facts::until("another one is admitted", async || shows(&name).await).await;
    guarded.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_on_without_a_gate_and_without_a_plan() {
    let Some((mut guarded, server)) = guarded().await else { return };
    let open = guarded.reserve(-1.0, 300.0).await;
    let ending = guarded.reserve(-1.0, 20.0).await;
    guarded.planned().await;
    let mut publisher = live(&server, &open).await;
    let mut other = live(&server, &ending).await;
    let mut viewer = viewer(&guarded, &server, &open).await;
    // It does not answer, and then it is gone.
    guarded.gate.freeze();
    refused(&server, &open.key).await;
    assert!(publisher.runs() && other.runs() && viewer.runs(), "nobody answered");
    guarded.gate.kill();
    refused(&server, &open.key).await;
    let (end, now) = guarded.end_and_now(&ending).await;
    let left = (end - now).to_std().unwrap_or_default();
    let began = tokio::time::Instant::now();
    facts::until("the window is over", async || began.elapsed() > left).await;
    assert!(publisher.runs() && other.runs() && viewer.runs(), "nobody was there to end them");
    // Without a database it has no plan: it neither admits nor disconnects.
    guarded.restart(&[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")]);
    guarded.up().await;
    let unknown = guarded.hook("publish", "app=live&call=publish&name=x&clientid=999").await;
    assert_eq!(unknown.0, 503, "{unknown:?}");
    assert!(publisher.runs() && other.runs() && viewer.runs());
    guarded.restart(&[]);
    other.end().await;
    assert!(publisher.runs() && viewer.runs(), "they may go on");
    guarded.finish().await;
}
