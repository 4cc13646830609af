//! Access keys are in the messages that bring them, and nowhere else.

use holdfast::broker::topology::{BILLING_QUEUE, EVENTS_EXCHANGE};
use holdfast::domain::access::{Key, PREFIX};
use holdfast::message::answer::{Answer, Notice};
use lapin::types::FieldTable;
use tempfile::TempDir;

use crate::support::facts;
use crate::support::secret::SecretFile;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};

/// Tables and columns that have a key, as text or as bytes.
async fn stored(stack: &Stack, needles: &[String]) -> Vec<String> {
    let tables = "select tablename from pg_tables where schemaname = 'public' order by 1";
    let tables = stack.db.query(tables, &[]).await.expect("the tables");
    let mut found = Vec::new();
    for table in tables.iter().map(|row| row.get::<_, &str>(0)) {
        for needle in needles {
            let bytes: String = needle.bytes().map(|byte| format!("{byte:02x}")).collect();
            let query = format!(
                "select count(*) from {table} row where row::text like '%' || $1 || '%' or row::text like '%' || $2 || '%'"
            );
            if stack.ask::<i64>(&query, &[needle, &bytes]).await > 0 {
                found.push(table.to_owned());
            }
        }
    }
    found
}

fn nowhere(what: &str, text: &str, needles: &[String]) {
    let line =
        text.lines().find(|line| needles.iter().any(|needle| line.contains(needle.as_str())));
    assert_eq!(line.map(str::len), None, "{what} has a key or a secret");
}

/// Of a notice that went nowhere: the client library knows it as a returned message.
async fn without_a_queue(stack: &Stack, terminal: &Terminal) {
    let queue = holdfast::broker::topology::reply_queue(terminal.id());
    let channel = stack.amqp.create_channel().await.expect("a channel");
    channel.queue_delete(queue.as_str().into(), Default::default()).await.expect("deleted");
}

async fn key_of(terminal: &mut Terminal, id: uuid::Uuid) -> Key {
    match terminal.show(id).await {
        Answer::Shown { reservation, .. } => {
            reservation.connection.and_then(|it| it.key).expect("a key")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_stored_logged_and_published_nowhere_else() {
    let mut stack = Stack::new().await;
    let columns = [
        ("capacity", &9 as _),
        ("late_booking", &"confirm" as _),
        ("connection_url", &"rtmp://cam.example/live/{key}" as _),
    ];
    let server = stack.server("cam", &columns).await;
    let (mut terminal, mut deaf) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let events = stack.amqp.create_channel().await.expect("a channel");
    let none = FieldTable::default();
    events.queue_declare("all".into(), Default::default(), none.clone()).await.expect("a queue");
    let (all, exchange) = ("all".into(), EVENTS_EXCHANGE.into());
    events
        .queue_bind(all, exchange, "#".into(), Default::default(), none)
        .await
        .expect("a binding");
    let file = SecretFile::new(&["s1"]);
    let directory: TempDir = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let output = std::fs::File::create(&log).expect("a log");
    let path = file.path();
    let environment = [("HOLDFAST_ACCESS_SECRET_FILE", path.as_str()), ("RUST_LOG", "trace")];
    let mut worker = stack.worker_with_into(&environment, output.into());

    let held = terminal.accepted(&server, window(68, 60)).await;
    terminal.reconfirm(&server, held.id).await;
    let late = terminal.accepted(&server, window(30, 60)).await;
    let dropped = deaf.accepted(&server, window(30, 60)).await;
    let confirmed = async |terminal: &Terminal, id| {
        matches!(terminal.notice_about(id).await, Notice::Confirmed { .. })
    };
    assert!(confirmed(&terminal, held.id).await && confirmed(&terminal, late.id).await);
    let first = key_of(&mut terminal, held.id).await;
    let rotate = "reservation access rotate --operator olga --reason leaked";
    let mut told = stack.operate(&[], &format!("{rotate} {}", held.id), 0).await.stdout;
    facts::until("the next key", async || terminal.notices().len() == 3).await;
    let second = key_of(&mut terminal, held.id).await;
    assert_ne!(first, second);
    key_of(&mut deaf, dropped.id).await;
    without_a_queue(&stack, &deaf).await;
    told += &stack.operate(&[], &format!("{rotate} {}", dropped.id), 0).await.stdout;
    stack.outbox_empty().await;
    for line in ["list", "history", "show"] {
        let id = if line == "list" { String::new() } else { held.id.to_string() };
        told += &stack.operate(&[], &format!("reservation {line} {id} --json"), 0).await.stdout;
    }
    assert!(worker.stop().await.success());

    let secret = file.secrets_text();
    let needles = [PREFIX.to_owned(), first.reveal()[PREFIX.len()..].to_owned(), secret];
    nowhere("a command's output", &told, &needles);
    let log = std::fs::read(&log).expect("the log");
    assert!(log.len() > 10_000, "it logs everything");
    nowhere("the log", &String::from_utf8_lossy(&log), &needles);
    assert_eq!(stored(&stack, &needles).await, Vec::<String>::new());
    for queue in ["all", BILLING_QUEUE] {
        let taken = stack.drain(queue).await;
        assert!(taken.len() >= 3, "{queue}");
        for event in taken {
            nowhere(queue, &String::from_utf8_lossy(&event.data), &needles);
        }
    }
    stack.finish().await;
}
