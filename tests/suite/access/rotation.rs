//! An operator replaces a key.

use super::{booked, camera, connection, nth_key, shown, worker};
use crate::support::secret::SecretFile;
use crate::support::stack::Stack;
use crate::support::terminal::window;

const ROTATE: &str = "reservation access rotate --operator olga --reason leaked";

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_dead_at_once_and_the_next_one_is_told() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let mut first = worker(&stack, &file);
    let id = booked(&mut terminal, &server, 1_800).await.id;
    let old = nth_key(&terminal, id, 1).await;
    stack.outbox_empty().await;
    assert!(first.stop().await.success());

    // No worker runs: the old key is dead all the same.
    stack.operate(&[], &format!("{ROTATE} {id}"), 0).await;
    let hash: Vec<u8> = stack.ask("select key_hash from admissions", &[]).await;
    assert_ne!(hash, old.hash());
    let next = SecretFile::new(&["s2", "s1"]);
    let mut second = worker(&stack, &next);
    let new = nth_key(&terminal, id, 2).await;
    assert_eq!(new, next.secrets().newest().key(id, 2));
    let hash: Vec<u8> = stack.ask("select key_hash from admissions", &[]).await;
    assert_eq!(hash, new.hash());
    assert_eq!(shown(&mut terminal, id).await.key, Some(new));
    let ids: Vec<_> =
        terminal.replies().into_iter().filter(|reply| reply.correlation_id.is_none()).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0].message_id, ids[1].message_id, "they are two notices");

    let history = stack.operate(&[], &format!("reservation history {id}"), 0).await.stdout;
    assert!(history.contains("operator olga, key rotated: leaked"), "{history}");
    assert_eq!(stack.state(id).await, "confirmed");
    let bills: i64 = stack.ask("select count(*) from billing_entries", &[]).await;
    assert_eq!(bills, 1);
    assert!(second.stop().await.success());
    stack.finish().await;
}

/// What was confirmed before there were keys gets one that way.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_key_gets_its_first_one() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 1).await;
    let mut terminal = stack.terminal("ann").await;
    let mut without = stack.worker();
    let booked = booked(&mut terminal, &server, 1_800).await;
    assert_eq!(connection(&booked).key, None);
    assert_eq!(shown(&mut terminal, booked.id).await.key, None);
    assert!(terminal.notices().is_empty(), "the answer has said it all");
    assert!(without.stop().await.success());
    let refused = stack.operate(&[], &format!("{ROTATE} {}", booked.id), 4).await;
    assert!(refused.stderr.contains("HOLDFAST_ACCESS_SECRET_FILE"), "{refused:?}");

    let file = SecretFile::new(&["s1"]);
    let _worker = worker(&stack, &file);
    terminal.show(booked.id).await;
    stack.operate(&[], &format!("{ROTATE} {}", booked.id), 0).await;
    assert_eq!(nth_key(&terminal, booked.id, 1).await, file.secrets().newest().key(booked.id, 1));
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_lets_somebody_in_has_a_key_to_rotate() {
    let mut stack = Stack::new().await;
    let server = camera(&stack, 2).await;
    let mut terminal = stack.terminal("ann").await;
    let file = SecretFile::new(&["s1"]);
    let _worker = worker(&stack, &file);
    let held = terminal.accepted(&server, window(7_200, 60)).await.id;
    let over = booked(&mut terminal, &server, 1_800).await.id;
    let past = "update reservations set start_at = now() - interval '1 h', deadline_at = now() - interval '1 h',
        end_at = now() - interval '1 s', busy_until = now() - interval '1 s' where id = $1";
    stack.execute(past, &[&over]).await;
    for (id, said) in [
        (held, "is held; only a confirmed one has a key"),
        (over, "is over"),
        (uuid::Uuid::nil(), "unknown"),
    ] {
        let refused = stack.operate(&[], &format!("{ROTATE} {id}"), 4).await;
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
    let rotated: i64 = stack.ask("select count(*) from access where epoch > 1", &[]).await;
    assert_eq!(rotated, 0);
    // What was moved by hand fits neither its bill nor its history.
    stack.execute("delete from access", &[]).await;
}
