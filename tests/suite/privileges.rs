//! What each database account may do, and what it may not. All tests run their workers with such an
//! account. What terminals' accounts may do at the broker is in `input/broker.rs`.

use holdfast::broker::accounts::Purpose;
use holdfast::broker::connection::Endpoint;
use holdfast::broker::delay::DUE_EXCHANGE;
use holdfast::broker::topology::{
    BILLING_QUEUE, COMMANDS_EXCHANGE, DEAD, partition_queue, reply_queue,
};
use holdfast::message::answer::Notice;
use holdfast::store::{pool, retention};
use lapin::types::FieldTable;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use url::Url;
use uuid::Uuid;

use crate::input::message::{Message, code_of};
use crate::support::program::{command, holdfast};
use crate::support::stack::Stack;
use crate::support::terminal::{code, window};
use crate::support::{engines, facts};

/// Creates an account with the product's command and connects with it.
async fn account(stack: &Stack, kind: &str) -> (String, Client) {
    let name = format!("{kind}_{}", stack.suffix());
    let environment = [("DATABASE_URL", stack.database_url.as_str())];
    let kind = format!("database-{kind}");
    let run = holdfast(&environment, &["account", "add", &kind, &name]).await;
    assert_eq!(run.code, 0, "{run:?}");
    let again = holdfast(&environment, &["account", "add", &kind, &name]).await;
    assert_eq!(again.code, 4, "{again:?}");
    (name, engines::connect(run.stdout.trim()).await)
}

async fn finish(stack: Stack, name: &str) {
    let rights = format!("drop owned by {name}; drop role {name}");
    stack.db.batch_execute(&rights).await.expect("the account goes");
    stack.finish().await;
}

async fn all_refused(client: &Client, statements: &[&str]) {
    for statement in statements {
        let error = client.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error}");
    }
}

const OF_NOBODY: [&str; 14] = [
    "create table mine (id int)",
    "create temporary table mine (id int)",
    "create function mine() returns int language sql as 'select 1'",
    "create schema mine",
    "create role mine",
    "alter table policy add column mine int",
    "drop table history",
    "truncate history",
    "alter table history disable trigger history_append_only",
    "set session_replication_role = replica",
    "set role postgres",
    "select * from pg_authid",
    "copy (select 1) to program 'true'",
    "select pg_read_file('PG_VERSION')",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_account_decides_and_does_nothing_else() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    terminal.accepted(&server, window(86_400, 60)).await;
    let (name, client) = account(&stack, "worker").await;
    all_refused(&client, &OF_NOBODY).await;
    all_refused(
        &client,
        &[
            "delete from history",
            "update history set at = now()",
            "select * from history",
            "delete from billing_entries",
            "update billing_entries set amount_minor = 0",
            "update reservations set price_minor = 0",
            "update reservations set user_id = 'bob'",
            "update servers set capacity = 1000",
            "insert into moves (server_id) values ('cam')",
            "update moves set to_partition = 1",
            "update servers set rate_minor = 0",
            "insert into servers (id) values ('mine')",
            "delete from servers",
            "insert into users (id) values ('mine')",
            "update users set quota_seconds = 1000000",
            "update terminals set enabled = true",
            "update terminals set user_id = 'bob'",
            "update policy set quota_default_seconds = 0",
            "update topology set partitions = 1",
            "update timekeeping set believed_at = 'infinity'",
            "update quota_bounds set starts_at = now()",
            "update recounts set marked_until = '~'",
            "delete from recounts",
            "update processed_commands set answer = ''",
            "update outbox_messages set body = ''",
            "insert into closures (server_id, start_at, end_at) values ('cam', now(), now())",
            "select setval('decision_block', 1)",
            "insert into database_roles (name, kind) values ('mine', 'worker')",
            "update schema_migrations set name = ''",
            "insert into pauses (scope) values ('all')",
            "delete from pauses",
            "update dead_letters set state = 'replaying'",
            "insert into dead_letters (id) values (gen_random_uuid())",
            "update access set epoch = 1",
            "delete from access",
            "delete from access_secrets",
            "update access_secrets set fingerprint = ''",
            "insert into access_use select * from access_use",
            "delete from access_use",
        ],
    )
    .await;
    // It may delete reservations, and the guard refuses those that are not over.
    let error = client.execute("delete from reservations", &[]).await.expect_err("not over");
    assert_eq!(error.code().map(SqlState::code), Some("ZR003"));
    assert!(worker.stop().await.success());
    assert!(!worker.log().contains("permission denied"));
    finish(stack, &name).await;
}

/// A worker's broker account serves a reservation from request to settlement, and has no further rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_workers_broker_account_serves_and_does_nothing_else() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let (mut terminal, victim) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let name = format!("least_{}", stack.suffix());
    let admin = engines::amqp_url(stack.broker.account(), stack.broker.password(), &stack.vhost);
    let environment = [
        ("DATABASE_URL", stack.database_url.as_str()),
        ("AMQP_URL", admin.as_str()),
        ("RABBITMQ_MANAGEMENT_URL", engines::MANAGEMENT_URL.as_str()),
    ];
    let made = holdfast(&environment, &["account", "add", "broker-worker", &name]).await;
    assert_eq!(made.code, 0, "{made:?}");
    let again = holdfast(&environment, &["account", "add", "broker-worker", &name]).await;
    assert_eq!(again.code, 4, "{again:?}");
    let url = made.stdout.trim();
    let mut worker = stack.worker_with(&[("AMQP_URL", url)]);
    // A query, the delay ladder, a notice, an event and a dead letter.
    let shown = terminal.show(Uuid::nil()).await;
    assert_eq!(code(&shown), Some("unknown_reservation"));
    let held = terminal.accepted(&server, window(68, 60)).await;
    terminal.reconfirm(&server, held.id).await;
    assert!(matches!(terminal.notice_about(held.id).await, Notice::Confirmed { .. }));
    stack.outbox_empty().await;
    assert_eq!(stack.drain(BILLING_QUEUE).await.len(), 1);
    let endpoint: Endpoint = url.parse().expect("a URL");
    let connection = endpoint.connect("least").await.expect("the broker");
    let nobody = Message::request(terminal.id()).with(|m| {
        m.user_id = None;
        DUE_EXCHANGE.clone_into(&mut m.exchange);
        "p0".clone_into(&mut m.routing_key);
    });
    assert_eq!(nobody.publish(&connection).await, Ok(()));
    facts::until("a dead letter", async || stack.depth(DEAD).await.0 == 1).await;
    for exchange in [COMMANDS_EXCHANGE, "", "amq.topic"] {
        let message = nobody.clone().with(|m| exchange.clone_into(&mut m.exchange));
        assert_eq!(message.publish(&connection).await, Err(403), "{exchange:?}");
    }
    let forged = nobody.clone().with(|m| m.user_id = Some(victim.id().to_owned()));
    assert_eq!(forged.publish(&connection).await, Err(406));
    for queue in [reply_queue(victim.id()), BILLING_QUEUE.to_owned(), DEAD.to_owned()] {
        let channel = connection.create_channel().await.expect("a channel");
        let got = channel.basic_get(queue.as_str().into(), Default::default()).await;
        assert_eq!(got.as_ref().map(drop).map_err(code_of), Err(403), "{queue}");
    }
    let channel = connection.create_channel().await.expect("a channel");
    let partition = partition_queue(0);
    let gone = channel.queue_delete(partition.as_str().into(), Default::default()).await;
    assert_eq!(gone.as_ref().map_err(code_of), Err(403));
    let channel = connection.create_channel().await.expect("a channel");
    let none = FieldTable::default();
    let diverted = channel
        .queue_bind(
            partition.into(),
            COMMANDS_EXCHANGE.into(),
            "#".into(),
            Default::default(),
            none,
        )
        .await;
    assert_eq!(diverted.as_ref().map_err(code_of), Err(403));
    assert!(worker.stop().await.success());
    assert!(!worker.log().contains("ended"), "{}", worker.log());
    engines::drop_account(&name).await;
    stack.finish().await;
}

/// Secrets do not appear in any log, with all logging on, libraries included.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_in_their_files() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let name = format!("quiet_{}", stack.suffix());
    let password = Uuid::new_v4().to_string();
    let made = stack.broker_accounts().create(Purpose::Worker, &name, &password).await;
    made.expect("an account");
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, secret: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("{secret}\n")).expect("written");
        path.to_str().expect("a text").to_owned()
    };
    let database = file("database", &stack.worker_url);
    let broker = file("broker", &stack.broker.url_for(&name, &password));
    let environment = [
        ("DATABASE_URL_FILE", database.as_str()),
        ("AMQP_URL_FILE", broker.as_str()),
        ("RUST_LOG", "trace"),
    ];
    let log = directory.path().join("log");
    let mut command = command(&environment, &["worker"]);
    command.stderr(std::fs::File::create(&log).expect("a log"));
    let worker = command.spawn().expect("the worker starts");
    terminal.accepted(&server, window(86_400, 60)).await;
    let process = format!("/proc/{}", worker.id().expect("it runs"));
    let seen = ["cmdline", "environ"].map(|of| std::fs::read(format!("{process}/{of}")));
    drop(worker);
    let mut seen: Vec<Vec<u8>> = seen.into_iter().map(|read| read.expect("read")).collect();
    let log = std::fs::read(&log).expect("the log");
    assert!(log.len() > 10_000, "it logs everything");
    seen.push(log);
    let url: Url = stack.worker_url.parse().expect("a URL");
    for secret in [password.as_str(), url.password().expect("a password")] {
        for text in &seen {
            let text = String::from_utf8_lossy(text);
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "a secret is shown");
        }
    }
    engines::drop_account(&name).await;
    stack.finish().await;
}

/// Pruning is rare, so no other test may notice a missing right.
#[tokio::test(flavor = "multi_thread")]
async fn a_workers_account_forgets_what_is_old() {
    let stack = Stack::new().await;
    let pool = pool::open(pool::settings(&stack.worker_url.parse().expect("a URL")), 1);
    let step = retention::step(&pool).await.expect("pruned");
    assert_eq!(step, retention::Step::default(), "there is nothing to forget yet");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_billing_account_reads_bills_and_nothing_else() {
    let stack = Stack::new().await;
    let (name, client) = account(&stack, "billing").await;
    client.query("select * from billing_entries", &[]).await.expect("bills");
    all_refused(&client, &OF_NOBODY).await;
    let tables = stack
        .db
        .query(
            "select tablename from pg_tables where schemaname = 'public'
             and tablename <> 'billing_entries'",
            &[],
        )
        .await
        .expect("the tables");
    assert!(tables.len() > 10);
    for table in tables.iter().map(|row| row.get::<_, &str>(0)) {
        all_refused(&client, &[&format!("select * from {table}")]).await;
    }
    all_refused(
        &client,
        &[
            "delete from billing_entries",
            "update billing_entries set amount_minor = 0",
            "insert into billing_entries (id) values (gen_random_uuid())",
            "select nextval('decision_block')",
        ],
    )
    .await;
    finish(stack, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gates_account_reads_admissions_and_records_use() {
    let stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let (name, client) = account(&stack, "gate").await;
    client.query("select * from admissions", &[]).await.expect("admissions");
    client
        .batch_execute(
            "insert into gate_coverage values ('cam', 'gate-1', now(), now())
             on conflict (server_id, gate, from_at)
                 do update set until_at = greatest(gate_coverage.until_at, excluded.until_at);
             insert into access_use
                 select gen_random_uuid(), 'gate-1', '7', now(), now(), 0, null where false
             on conflict (reservation_id, gate, session) do update
                 set last_at = greatest(access_use.last_at, excluded.last_at)",
        )
        .await
        .expect("what it records");
    all_refused(&client, &OF_NOBODY).await;
    let tables = stack
        .db
        .query(
            "select tablename from pg_tables where schemaname = 'public'
             and tablename not in ('access_use', 'gate_coverage')",
            &[],
        )
        .await
        .expect("the tables");
    assert!(tables.len() > 10);
    for table in tables.iter().map(|row| row.get::<_, &str>(0)) {
        all_refused(&client, &[&format!("select * from {table}")]).await;
    }
    all_refused(
        &client,
        &[
            "delete from access_use",
            "delete from gate_coverage",
            "update access set key_hash = ''",
            "update servers set capacity = 1000",
            "update reservations set state = 'cancelled'",
            "select nextval('decision_block')",
        ],
    )
    .await;
    finish(stack, &name).await;
}

/// A migration grants existing accounts what it adds.
#[tokio::test(flavor = "multi_thread")]
async fn migrating_renews_the_rights() {
    let stack = Stack::new().await;
    let (name, client) = account(&stack, "billing").await;
    stack.execute(&format!("revoke all on billing_entries from {name}"), &[]).await;
    all_refused(&client, &["select * from billing_entries"]).await;
    let run = holdfast(&[("DATABASE_URL", &stack.database_url)], &["migrate"]).await;
    assert_eq!(run.code, 0, "{run:?}");
    client.query("select * from billing_entries", &[]).await.expect("bills");
    finish(stack, &name).await;
}
