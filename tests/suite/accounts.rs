//! Accounts over time: workers' accounts are replaced, passwords change, and no password is lost.

use std::fs::File;
use std::process::Stdio;

use holdfast::broker::accounts::Purpose;
use holdfast::broker::connection::Endpoint;
use holdfast::broker::delay::{DUE_EXCHANGE, partition_word};
use holdfast::broker::publisher::{Fate, Outgoing, Publisher};
use holdfast::broker::topology::DEAD;
use holdfast::domain::input::{Trigger, WakeUp};
use holdfast::message::wake_up;
use rabbitmq_http_client::requests::UserParams;
use uuid::Uuid;

use crate::support::program::{command, ended};
use crate::support::stack::Stack;
use crate::support::terminal::window;
use crate::support::{engines, facts};

/// Seconds until the start of a reservation whose deadline is some seconds away: the lead time is a minute.
const SOON: i64 = 72;

async fn connects(url: &str) -> bool {
    let endpoint: Endpoint = url.parse().expect("an AMQP URL");
    match endpoint.connect("test").await {
        Ok(connection) => connection.close().await.is_ok(),
        Err(_) => false,
    }
}

async fn add_worker(stack: &Stack, name: &str) -> String {
    let line = format!("account add broker-worker {name}");
    stack.operate(&[], &line, 0).await.stdout.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_account_takes_the_wake_ups_of_the_first() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[("capacity", &2i32)]).await;
    let [first, second] = ["first", "second"].map(|name| format!("{name}_{}", stack.suffix()));
    let url = add_worker(&stack, &first).await;
    let mut worker = stack.worker_with(&[("AMQP_URL", &url), ("HOLDFAST_SWEEP", "off")]);
    let wanted = window(SOON, 600);
    let left = terminal.accepted(&server, wanted).await;
    let kept = terminal.accepted(&server, wanted).await;
    terminal.reconfirm(&server, kept.id).await;
    let scheduled = "select count(*) from timers where scheduled_until is not null";
    facts::until("a wake-up waits", async || stack.ask::<i64>(scheduled, &[]).await == 1).await;
    let remove = format!("account remove broker-worker {first}");
    let refused = stack.operate(&[], &remove, 4).await;
    assert!(refused.stderr.contains("connections"), "{refused:?}");
    assert!(worker.stop().await.success());

    let url = add_worker(&stack, &second).await;
    let mut worker = stack.worker_with(&[("AMQP_URL", &url), ("HOLDFAST_SWEEP", "off")]);
    facts::until("its connections are gone", async || engines::connections_of(&first).await == 0)
        .await;
    stack.operate(&[], &remove, 0).await;
    stack.operate(&[], &remove, 4).await;
    // Still trusted, so no terminal may get the name. It has an underscore, but others need not.
    let retired = "select retired_at is not null from worker_accounts where name = $1";
    assert!(stack.ask::<bool>(retired, &[&first]).await);
    stack.until_state(left.id, "cancelled").await;
    stack.until_state(kept.id, "confirmed").await;
    let triggers = "select array_agg(trigger) from history where actor = 'deadline'";
    let triggers: Vec<String> = stack.ask(triggers, &[]).await;
    assert_eq!(triggers, ["message", "message"]);
    stack.outbox_empty().await;
    assert!(stack.drain(DEAD).await.is_empty());
    assert!(worker.stop().await.success());
    engines::drop_account(&second).await;
    stack.finish().await;
}

/// A running worker learns of another's account when the first message from it comes.
#[tokio::test(flavor = "multi_thread")]
async fn workers_with_two_accounts_believe_each_other() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let server = stack.server("cam", &[]).await;
    let worker = stack.worker_by_hand().await;
    let held = terminal.accepted(&server, window(SOON, 600)).await;
    let name = format!("late_{}", stack.suffix());
    let account = engines::create_account(&name, &stack.vhost).await;
    let connection = account.connect("late").await.expect("the broker");
    let mut publisher = Publisher::open(&connection).await.expect("a channel");
    let due = WakeUp {
        due_at: held.deadline_at,
        scheduled_until: held.deadline_at,
        trigger: Trigger::Message,
    };
    let message = Outgoing {
        exchange: DUE_EXCHANGE.to_owned(),
        routing_key: partition_word(0),
        message_id: Uuid::new_v4().to_string(),
        type_name: "wake_up".to_owned(),
        correlation_id: None,
        content_type: "application/json",
        user_id: Some(name.clone()),
        headers: Vec::new(),
        body: wake_up::encode(&due).into_bytes(),
        persistent: true,
    };
    // Nobody's yet.
    let fates = publisher.publish(std::slice::from_ref(&message)).await.expect("published");
    assert_eq!(fates, [Fate::Routed]);
    facts::until("it is dead", async || stack.depth(DEAD).await.0 == 1).await;
    assert_eq!(stack.state(held.id).await, "held");
    stack.execute("insert into worker_accounts (name) values ($1)", &[&name]).await;
    facts::until("the deadline has passed", async || {
        stack.ask("select clock_timestamp() > $1", &[&held.deadline_at]).await
    })
    .await;
    publisher.publish(&[message]).await.expect("published");
    stack.until_state(held.id, "cancelled").await;
    connection.close().await.expect("closed");
    engines::drop_account(&name).await;
    drop(worker);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_change_while_workers_run() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &9i32)]).await;
    let (role, name) = (format!("role_{}", stack.suffix()), format!("mq_{}", stack.suffix()));
    let old_role =
        stack.operate(&[], &format!("account add database-worker {role}"), 0).await.stdout;
    let old_mq = add_worker(&stack, &name).await;
    let environment = [("DATABASE_URL", old_role.trim()), ("AMQP_URL", old_mq.as_str())];
    let mut worker = stack.worker_with(&environment);
    let mut terminal = stack.terminal("ann").await;
    terminal.accepted(&server, window(86_400, 60)).await;

    let rotate = async |line: String| stack.operate(&[], &line, 0).await.stdout.trim().to_owned();
    let new_role = rotate(format!("account rotate database-worker {role}")).await;
    let new_mq = rotate(format!("account rotate broker-worker {name}")).await;
    let id = terminal.id().to_owned();
    let new_terminal = rotate(format!("terminal rotate {id}")).await;
    terminal.accepted(&server, window(86_400, 60)).await;
    assert!(!connects(&old_mq).await);
    assert!(tokio_postgres::connect(old_role.trim(), tokio_postgres::NoTls).await.is_err());
    assert!(!connects(&engines::amqp_url(&id, engines::PASSWORD, &stack.vhost)).await);
    assert!(worker.stop().await.success());

    let environment = [("DATABASE_URL", new_role.as_str()), ("AMQP_URL", new_mq.as_str())];
    let mut worker = stack.worker_with(&environment);
    let limits = engines::management().list_user_limits(&id).await.expect("limits");
    assert!(format!("{limits:?}").contains("max-connections"), "{limits:?}");
    assert!(connects(&new_terminal).await);
    terminal.accepted(&server, window(86_400, 60)).await;
    assert!(worker.stop().await.success());

    // What was made otherwise, or for something else, is left alone.
    let limited = engines::create_account(&format!("own_{}", stack.suffix()), &stack.vhost).await;
    for line in [
        format!("account rotate broker-worker {}", limited.account()),
        format!("account remove broker-worker {}", limited.account()),
        format!("account rotate broker-billing {}", stack.named("none")),
        format!("account rotate database-billing {role}"),
        "account rotate database-worker postgres".to_owned(),
        format!("terminal rotate {}", stack.named("none")),
    ] {
        stack.operate(&[], &line, 4).await;
    }
    assert!(connects(&engines::amqp_url(limited.account(), engines::PASSWORD, &stack.vhost)).await);
    for account in [limited.account(), name.as_str()] {
        engines::drop_account(account).await;
    }
    let rights = format!("drop owned by {role}; drop role {role}");
    stack.db.batch_execute(&rights).await.expect("the account goes");
    stack.finish().await;
}

/// Standard output is a device without space.
async fn without_output(stack: &Stack, line: &str) -> i32 {
    let environment = stack.operator_environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let full = File::options().write(true).open("/dev/full").expect("a device");
    let run = ended(command(&environment, &words).stdout(Stdio::from(full)).spawn().expect("runs"));
    let run = run.await;
    assert!(run.stderr.contains("nothing was changed"), "{line}: {run:?}");
    run.code
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_output_there_is_no_account() {
    let stack = Stack::new().await;
    stack.user("ann", None, None).await;
    let suffix = stack.suffix().to_owned();
    let terminal = stack.named("new");
    let [role, worker] = ["role", "worker"].map(|name| format!("no_{name}_{suffix}"));
    let biller = format!("no-{suffix}");
    let adds = [
        format!("terminal add {terminal} --user ann"),
        format!("account add database-worker {role}"),
        format!("account add database-billing {role}"),
        format!("account add broker-worker {worker}"),
        format!("account add broker-billing {biller}"),
    ];
    for line in &adds {
        assert_eq!(without_output(&stack, line).await, 1, "{line}");
    }
    assert_eq!(stack.ask::<i64>("select count(*) from terminals", &[]).await, 0);
    let roles = "select count(*) from pg_roles where rolname = $1";
    assert_eq!(stack.ask::<i64>(roles, &[&role]).await, 0);
    let users = engines::management().list_users().await.expect("accounts");
    for account in [&terminal, &worker, &Purpose::Billing.account(&biller)] {
        assert!(users.iter().all(|user| user.name != *account), "{account}");
    }

    // A file instead; it must be new.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("url");
    let shown = path.to_str().expect("a text");
    let line = format!("{} --url-file {shown}", adds[0]);
    let added = stack.operate(&[], &line, 0).await;
    assert_eq!(added.stdout, "");
    let url = std::fs::read_to_string(&path).expect("a URL");
    assert!(connects(url.trim()).await);
    let rotate = format!("terminal rotate {terminal}");
    stack.operate(&[], &format!("{rotate} --url-file {shown}"), 4).await;
    assert_eq!(without_output(&stack, &rotate).await, 1);
    assert!(connects(url.trim()).await, "the password is the same");
    engines::drop_account(&terminal).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_accounts_are_left_alone() {
    let stack = Stack::new().await;
    stack.user("ann", None, None).await;
    let admin = stack.named("admin");
    let management = engines::management();
    let params = UserParams::new(&admin, "", "administrator");
    management.create_user(&params).await.expect("an account");
    let refused = stack.operate(&[], &format!("terminal add {admin} --user ann"), 4).await;
    assert!(refused.stderr.contains("with the tag administrator"), "{refused:?}");
    assert_eq!(stack.ask::<i64>("select count(*) from terminals", &[]).await, 0);

    // A name that workers use or used would make every wake-up of its terminal count.
    let own = stack.named("worker");
    stack.execute("insert into worker_accounts values ($1, now(), now())", &[&own.as_str()]).await;
    let refused = stack.operate(&[], &format!("terminal add {own} --user ann"), 4).await;
    assert!(refused.stderr.contains("is or was a worker's"), "{refused:?}");
    engines::drop_account(&admin).await;
    stack.finish().await;
}

const KINDS: [&str; 3] = ["worker", "billing", "monitor"];

/// Removes the three accounts of a kind.
async fn remove(stack: &Stack, kind: &str) {
    let suffix = stack.suffix();
    let role = format!("db_{kind}_{suffix}");
    let open = "select count(*) from pg_stat_activity where usename = $1";
    facts::until("its session has ended", async || stack.ask::<i64>(open, &[&role]).await == 0)
        .await;
    stack.operate(&[], &format!("account remove database-{kind} {role}"), 0).await;
    stack.operate(&[], &format!("account remove database-{kind} {role}"), 4).await;
    let roles = "select count(*) from pg_roles where rolname = $1";
    assert_eq!(stack.ask::<i64>(roles, &[&role]).await, 0, "{role}");
    let separator = if kind == "worker" { '_' } else { '-' };
    for name in ["mq", "mr"].map(|name| format!("{name}{separator}{suffix}")) {
        let account = match kind {
            "billing" => format!("biller_{name}"),
            "monitor" => format!("monitor_{name}"),
            _ => name.clone(),
        };
        facts::until("its connections are gone", async || {
            engines::connections_of(&account).await == 0
        })
        .await;
        stack.operate(&[], &format!("account remove broker-{kind} {name}"), 0).await;
    }
}

/// Every kind is added, listed, replaced without a gap and removed, on both engines.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_listed_replaced_and_removed() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal("ann").await;
    let suffix = stack.suffix().to_owned();
    let mut sessions = Vec::new();
    for kind in KINDS {
        let role = format!("db_{kind}_{suffix}");
        let url =
            stack.operate(&[], &format!("account add database-{kind} {role}"), 0).await.stdout;
        sessions.push(engines::connect(url.trim()).await);
        let name = if kind == "worker" { format!("mq_{suffix}") } else { format!("mq-{suffix}") };
        let url = stack.operate(&[], &format!("account add broker-{kind} {name}"), 0).await.stdout;
        assert!(connects(url.trim()).await, "{kind}");
        // A second one beside it, which is made only beside one that there is.
        let second = name.replace("mq", "mr");
        let beside = format!("account rotate broker-{kind} {second} --beside");
        stack.operate(&[], &format!("{beside} {}", name.replace("mq", "no")), 4).await;
        let url = stack.operate(&[], &format!("{beside} {name}"), 0).await.stdout;
        assert!(connects(url.trim()).await, "{kind}");
    }
    let list = async || {
        let listed = stack.operate(&[], "account list --json", 0).await;
        let lines: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
        lines.as_array().expect("a list").clone()
    };
    let state = |lines: &[serde_json::Value], account: &str| -> Option<String> {
        let line = lines.iter().find(|line| line["account"] == account)?;
        Some(format!("{} {} {}", line["kind"], line["engine"], line["state"]).replace('"', ""))
    };
    let lines = list().await;
    for (account, expected) in [
        (format!("mq_{suffix}"), "worker broker overlap"),
        (format!("mr_{suffix}"), "worker broker overlap"),
        (format!("biller_mq-{suffix}"), "biller broker overlap"),
        (format!("monitor_mr-{suffix}"), "monitor broker overlap"),
        // Beside the one that the tests' workers use.
        (format!("db_worker_{suffix}"), "worker database overlap"),
        (format!("db_billing_{suffix}"), "biller database valid"),
        (format!("db_monitor_{suffix}"), "monitor database valid"),
        (terminal.id().to_owned(), "terminal broker valid"),
    ] {
        assert_eq!(state(&lines, &account).as_deref(), Some(expected), "{account}: {lines:#?}");
    }

    for kind in KINDS {
        let remove = format!("account remove database-{kind} db_{kind}_{suffix}");
        let refused = stack.operate(&[], &remove, 4).await;
        assert!(refused.stderr.contains("open sessions"), "{refused:?}");
    }
    drop(sessions);
    for kind in KINDS {
        remove(&stack, kind).await;
    }
    let left = list().await;
    for kind in KINDS {
        assert!(state(&left, &format!("db_{kind}_{suffix}")).is_none(), "{left:#?}");
    }
    assert!(state(&left, &format!("monitor_mq-{suffix}")).is_none());
    let rows =
        "select count(*) from audit where kind = 'account' and action = any ('{add,remove}')";
    assert_eq!(stack.ask::<i64>(rows, &[]).await, 9 + 9);
    stack.finish().await;
}

/// It reads what it needs to watch, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_looks_and_changes_nothing() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    terminal.accepted(&server, window(86_400, 60)).await;
    stack.operate(&[], "topology apply --partitions 1", 0).await;
    let role = format!("watch_{}", stack.suffix());
    let database =
        stack.operate(&[], &format!("account add database-monitor {role}"), 0).await.stdout;
    let name = format!("watch-{}", stack.suffix());
    let broker = stack.operate(&[], &format!("account add broker-monitor {name}"), 0).await.stdout;
    let management = engines::MANAGEMENT_URL.as_str();
    let mut plain: url::Url = management.parse().expect("a URL");
    plain.set_username("").expect("no account");
    plain.set_password(None).expect("no password");
    let environment = [
        ("DATABASE_URL", database.trim()),
        ("AMQP_URL", broker.trim()),
        ("RABBITMQ_MANAGEMENT_URL", plain.as_str()),
    ];
    let verified = stack.operate(&environment, "topology verify", 0).await;
    assert!(verified.stdout.contains("No delay probe was sent"), "{verified:?}");
    stack.operate(&environment, "migrate --check", 0).await;
    let status = stack.operate(&environment, "status --json", 0).await;
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["filed_letters"], 0, "{status}");
    for line in ["pause --why x", "topology apply", "user add bob", "account list --csv"] {
        let allowed = line.starts_with("account list");
        stack.operate(&environment, line, if allowed { 0 } else { 78 }).await;
    }

    let client = engines::connect(database.trim()).await;
    for statement in [
        "select connection_url from servers",
        "select rate_minor from servers",
        "select user_id from reservations",
        "select body from outbox_messages",
        "select body from dead_letters",
        "select * from billing_entries",
        "select * from processed_commands",
        "insert into pauses (scope) values ('all')",
        "update policy set quota_default_seconds = 0",
        "create table mine (id int)",
    ] {
        let error = client.batch_execute(statement).await.expect_err(statement);
        let refused = Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
        assert_eq!(error.code(), refused, "{statement}: {error}");
    }
    let endpoint: Endpoint = broker.trim().parse().expect("a URL");
    let connection = endpoint.connect("monitor").await.expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    let declared =
        channel.queue_declare("mine".into(), Default::default(), Default::default()).await;
    assert!(declared.is_err(), "it declares nothing");
    let channel = connection.create_channel().await.expect("a channel");
    assert!(channel.basic_get(DEAD.into(), Default::default()).await.is_err(), "and reads nothing");
    connection.close().await.expect("closed");
    drop(client);
    assert!(worker.stop().await.success());
    engines::drop_account(&format!("monitor_{name}")).await;
    let rights = format!("drop owned by {role}; drop role {role}");
    stack.db.batch_execute(&rights).await.expect("the account goes");
    stack.finish().await;
}
