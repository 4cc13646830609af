//! The key reaches its terminal, and its hash the gates.

use std::sync::{Arc, Mutex};

use holdfast::client::Command;
use holdfast::message::answer::{Answer, Notice};
use tokio_postgres::{AsyncMessage, NoTls};

use super::{SECRET_FILE, booked, camera, connection, keys_of, nth_key, shown, worker};
use crate::support::facts;
use crate::support::secret::SecretFile;
use crate::support::stack::Stack;
use crate::support::terminal::{new_id, window};

/// Servers that gates were told of, from now on.
async fn told(url: &str) -> Arc<Mutex<Vec<String>>> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.expect("a session");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = futures::StreamExt::next(&mut messages).await {
            if let AsyncMessage::Notification(about) = message {
                kept.lock().expect("no panics").push(about.payload().to_owned());
            }
        }
    });
    client.batch_execute("listen holdfast_access").await.expect("it listens");
    // The session lasts as long as the test.
    std::mem::forget(client);
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_reservation_gets_its_key_and_a_gate_its_hash() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    stack.execute("update servers set lead_seconds = 60", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let mut worker = worker(&stack, &file);
    let heard = told(&stack.database_url).await;
    let held = terminal.accepted(&server, window(68, 600)).await;
    terminal.reconfirm(&server, held.id).await;
    let Notice::Confirmed { reservation, starts_in_ms, ends_in_ms, .. } =
        terminal.notice_about(held.id).await
    else {
        panic!("not confirmed")
    };

    let told = connection(&reservation);
    let key = told.key.clone().expect("a key");
    assert_eq!(key, file.secrets().newest().key(held.id, 1));
    assert_eq!(told.url, format!("rtmp://cam.example/live/{}", key.reveal()));
    let view = format!("https://watch.example/{}", held.id);
    assert_eq!(told.view_url.as_deref(), Some(view.as_str()));
    let (starts, ends) = (starts_in_ms.expect("a start"), ends_in_ms.expect("an end"));
    assert!((50_000..=60_000).contains(&starts) && ends == starts + 600_000, "{starts} {ends}");
    assert_eq!(shown(&mut terminal, held.id).await, told, "`show` tells the same");

    let admitted = "select key_hash from admissions where server_id = 'cam' and reservation_id = $1
        and state = 'confirmed' and early_seconds = 0 and capacity = 1";
    let hash: Vec<u8> = stack.ask(admitted, &[&held.id]).await;
    assert_eq!(hash, key.hash());
    facts::until("gates are told", async || {
        heard.lock().expect("no panics").contains(&"cam".to_owned())
    })
    .await;

    // What is listed, answered and stored says where the key belongs, and not which it is.
    let open = "rtmp://cam.example/live/{key}";
    let Answer::Listed { reservations, .. } =
        terminal.ask(&Command::list(new_id(), None, None)).await
    else {
        panic!("not listed")
    };
    let listed = connection(&reservations[0]);
    assert_eq!((listed.url.as_str(), listed.key), (open, None));
    let stored = "select body::jsonb #>> '{reservation,connection,url}' from outbox_messages
        where kind = 'notice' and type = 'reservation.confirmed'";
    assert_eq!(stack.ask::<String>(stored, &[]).await, open);

    let cancel = "reservation cancel --operator olga --reason test";
    heard.lock().expect("no panics").clear();
    stack.operate(&[], &format!("{cancel} {}", held.id), 0).await;
    facts::until("gates are told", async || !heard.lock().expect("no panics").is_empty()).await;
    let gone = "select state from admissions where reservation_id = $1 and changed_at > now() - interval '1 min'";
    assert_eq!(stack.ask::<String>(gone, &[&held.id]).await, "cancelled");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// Immediate use: what is asked for now begins with the next slot, and its key is there as soon as the answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_booked_late_gets_its_key_by_notice() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let _worker = worker(&stack, &file);
    terminal.show(uuid::Uuid::nil()).await; // a worker is there
    let booked = booked(&mut terminal, &server, 2).await;
    let told = connection(&booked);
    assert_eq!((told.url.as_str(), told.key), ("rtmp://cam.example/live/{key}", None));
    let key = nth_key(&terminal, booked.id, 1).await;
    let Notice::Confirmed { starts_in_ms, charge, .. } = terminal.notice_about(booked.id).await
    else {
        panic!("not confirmed")
    };
    assert!(starts_in_ms.expect("a start") <= 2_000);
    assert_eq!(Some(charge), stack.ask("select id from billing_entries", &[]).await);
    let admitted = "select count(*) from admissions where key_hash = $1";
    assert_eq!(stack.ask::<i64>(admitted, &[&key.hash().as_slice()]).await, 1);
    stack.finish().await;
}

/// A worker that dies in between: the relay of another adds the key, from what the database knows.
#[tokio::test(flavor = "multi_thread")]
async fn the_relay_adds_the_key_as_well() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let environment = [(SECRET_FILE, file.path()), ("FAILPOINTS", "outbox-left=return".to_owned())];
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut leaving = stack.worker_with(&environment);
    let booked = booked(&mut terminal, &server, 1_800).await;
    assert!(leaving.stop().await.success());
    assert_eq!(keys_of(&terminal, booked.id), []);
    stack.execute("update outbox set retry_at = now()", &[]).await;
    let _worker = worker(&stack, &file);
    let key = nth_key(&terminal, booked.id, 1).await;
    assert_eq!(key, file.secrets().newest().key(booked.id, 1));
    stack.finish().await;
}

/// Another secret is for new keys. A key stays what it is as long as its secret is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_leaves_keys_as_they_are() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 2).await;
    let mut terminal = stack.terminal("ann").await;
    let before = SecretFile::new(&["s1"]);
    let mut first = worker(&stack, &before);
    let old = booked(&mut terminal, &server, 1_800).await.id;
    let old_key = nth_key(&terminal, old, 1).await;
    assert!(first.stop().await.success());
    let both = SecretFile::new(&["s2", "s1"]);
    let mut second = worker(&stack, &both);
    let new = booked(&mut terminal, &server, 1_800).await.id;
    assert_eq!(nth_key(&terminal, new, 1).await, both.secrets().newest().key(new, 1));
    assert_eq!(shown(&mut terminal, old).await.key, Some(old_key));
    assert!(second.stop().await.success());
    let after = SecretFile::new(&["s2"]);
    let _third = worker(&stack, &after);
    let told = shown(&mut terminal, old).await;
    assert_eq!((told.key, told.url.as_str()), (None, "rtmp://cam.example/live/{key}"));
    stack.finish().await;
}

/// Otherwise gates would know keys of some workers only.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_secret_of_that_name_does_not_start() {
    let stack = Stack::new().await;
    let file = SecretFile::new(&["s1"]);
    let mut good = worker(&stack, &file);
    facts::until("it has started", async || good.log().contains("worker started")).await;
    let other = format!("s1:{}", "x".repeat(40));
    let mut wrong = stack.worker_with(&[("HOLDFAST_ACCESS_SECRET", other.as_str())]);
    assert_eq!(wrong.ended().await.code(), Some(78));
    assert!(wrong.log().contains("the secret s1 is another one"), "{}", wrong.log());
    let mut unreadable = stack.worker_with(&[("HOLDFAST_ACCESS_SECRET", "s1:short")]);
    assert_eq!(unreadable.ended().await.code(), Some(78));
    let mut without = stack.worker();
    facts::until("it is warned", async || without.log().contains("has no secret")).await;
    assert!(without.stop().await.success() && good.stop().await.success());
    stack.finish().await;
}
