//! The `holdfast` program as operators and terminals meet it. What it prints is in `golden/`.

mod accounts;
mod completions;
mod errors;
mod large;
mod man;
mod reservations;
mod servers;
mod topology;
mod users;

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, TimeDelta, Utc};
use clap::CommandFactory;
use holdfast::broker::connection::Endpoint;
use holdfast::broker::topology::{BILLING_QUEUE, partition_queue};
use holdfast::cli::Cli;
use holdfast::domain::id::{TerminalId, UserId};
use holdfast::message::answer::Answer;
use holdfast::message::event::{CloudEvent, ConfirmedData};
use holdfast::store::admin;
use lapin::options::QueueDeleteOptions;
use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use rabbitmq_http_client::requests::UserParams;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::support::engines;
use crate::support::program::{Run, Transcript, command, holdfast};
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, window};

// --- without any engine

/// Commands, and what the help of each says.
const HELP: [(&str, &[&str]); 60] = [
    ("", &["worker", "migrate", "topology", "server", "user", "policy"]),
    ("", &["terminal", "client", "reservation", "billing", "DATABASE_URL", "Exit codes"]),
    ("worker", &["HOLDFAST_BATCH_MAX", "HOLDFAST_SWEEP", "SIGTERM", "--database-url"]),
    ("migrate", &["--check", "exit with 3"]),
    ("", &["account", "completions", "man"]),
    ("topology", &["apply", "verify", "rebalance", "remove"]),
    ("topology rebalance", &["--dry-run", "--partitions", "the order of each server's commands"]),
    ("topology remove", &["--yes", "--force", "messages", "broker accounts"]),
    ("topology apply", &["--partitions", "--delay-levels", "default 4", "default 24"]),
    ("topology verify", &["Exits with 3", "probe to each server"]),
    (
        "account add",
        &[
            "the rights for its work and no others",
            "password",
            "holdfast_worker",
            "database-worker PostgreSQL account for workers",
            "database-billing PostgreSQL account that reads bills and nothing else",
            "broker-worker RabbitMQ account for workers",
            "broker-billing RabbitMQ account biller_NAME",
        ],
    ),
    ("account add database-worker", &["CREATEROLE", "history and bills", "DATABASE_URL"]),
    ("account add database-billing", &["CREATEROLE", "reads bills and nothing else"]),
    ("account add broker-worker", &["declares nothing", "underscore", "AMQP_URL"]),
    ("account add broker-billing", &["biller_NAME", "billing.entries.v1", "nothing else"]),
    ("account rotate", &["new password", "without a gap", "database-worker", "broker-billing"]),
    ("account rotate broker-worker", &["--url-file"]),
    ("account remove broker-worker", &["refuses while", "still believed"]),
    ("terminal rotate", &["new password", "--url-file"]),
    ("topology apply", &["--take-over", "gone for good", "unknown_terminal"]),
    ("server", &["add", "list", "set"]),
    ("server add", &["--capacity", "--lead-seconds", "21600", "--late-booking", "Example"]),
    ("server add", &["--partition", "fewest servers"]),
    ("server move", &["--partition", "nothing is refused"]),
    ("server list", &["--json"]),
    ("server", &["show", "close", "open", "closure"]),
    ("server show", &["partition", "closures ahead"]),
    ("server set", &["--capacity", "refused", "--rate-minor", "tariff version", "new requests"]),
    ("server close", &["new requests only", "server_closed"]),
    ("server open", &["again"]),
    ("server closure", &["add", "list", "remove"]),
    ("server closure add", &["--start", "--end", "--reason", "new requests only", "Example"]),
    ("server closure list", &["--all"]),
    ("server closure remove", &["number"]),
    ("user add", &["--quota-seconds", "--holds-max"]),
    ("user list", &["quota period", "policy's default"]),
    ("user set", &["--quota-seconds", "--holds-max", "default", "new requests only"]),
    ("policy show", &["--json"]),
    ("policy set", &["--quota-period", "--quota-zone", "Europe/Berlin"]),
    ("terminal add", &["--user", "password", "run it again"]),
    ("terminal list", &["--user"]),
    ("terminal disable", &["terminal_disabled", "stay"]),
    ("terminal enable", &["again"]),
    ("doctor", &["--no-probe", "Exits with 3", "through each partition"]),
    ("status", &["--watch", "--json lists all", "exits with 75"]),
    ("completions", &["bash", "zsh", "fish", "elvish", "powershell"]),
    ("man", &["DIRECTORY", "man -l"]),
    ("client", &["request", "reconfirm", "withdraw", "show", "Exits with 4"]),
    ("client request", &["--server", "--start", "--end", "RFC 3339", "--message-id"]),
    ("client reconfirm", &["--server", "RESERVATION", "--timeout"]),
    ("client withdraw", &["--server", "free of charge"]),
    ("client show", &["RESERVATION"]),
    ("client list", &["--limit", "--after", "newest first"]),
    ("client availability", &["--server", "--start", "31 days"]),
    ("reservation cancel", &["--reason", "--operator", "credited in full"]),
    ("reservation history", &["when, by whom or what, why, and how late"]),
    ("reservation show", &["billed"]),
    ("reservation list", &["--user", "--server", "--state", "--from", "--limit", "--after"]),
    ("billing ledger", &["--from", "--to", "--user", "totals per currency"]),
    ("billing tail", &["--count", "--timeout", "takes nothing from the billing system"]),
];

#[tokio::test]
async fn help_says_what_can_be_typed() {
    for (words, said) in HELP {
        let words: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
        let Run { code, stdout, stderr } = holdfast(&[], &words).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{words:?}");
        let help = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in said {
            assert!(help.contains(said), "{words:?} does not say {said:?}: {stdout}");
        }
    }
}

#[test]
fn the_readme_lists_every_command() {
    let readme = include_str!("../../README.md");
    let mut groups = vec![(String::new(), Cli::command())];
    while let Some((path, group)) = groups.pop() {
        for command in group.get_subcommands().filter(|command| command.get_name() != "help") {
            let below = format!("{path} {}", command.get_name()).trim().to_owned();
            let row =
                |name: &str| readme.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            if command.has_subcommands() || path.is_empty() {
                assert!(row(&below).is_some(), "no row for {below}");
                groups.push((below, command.clone()));
            } else {
                let listed = row(&path).expect("checked above");
                assert!(listed.contains(&format!("`{}`", command.get_name())), "{below}: {listed}");
            }
        }
    }
}

#[tokio::test]
async fn wrong_usage_is_refused_before_anything_is_read() {
    for line in [
        "",
        "nonsense",
        "--nonsense",
        "topology apply --partitions 0",
        "topology apply --delay-levels 25",
        "server add gpu-1",
        "server add GPU_1 --capacity 1 --rate-minor 1 --currency EUR --connection-url a:b",
        "server add gpu-1 --capacity 1 --rate-minor 1 --currency euro --connection-url a:b",
        "server add gpu-1 --capacity 1 --rate-minor 1 --currency EUR --connection-url nowhere",
        "server set gpu-1 --capacity 0",
        "server set gpu-1",
        "server set gpu-1 --currency euro",
        "server show",
        "server closure add gpu-1 --start +1h",
        "server closure remove first",
        "user set ann",
        "user set ann --holds-max 0",
        "terminal disable",
        "account add broker-billing acme_1",
        "account add broker-worker acme",
        "account add database-worker 1acme",
        "account add database-billing acme-1",
        "account add acme",
        "reservation list --state late",
        "reservation list --limit 0",
        "billing ledger --from +0s",
        "completions tcsh",
        "user add a.b",
        "policy set",
        "policy set --quota-period year",
        "terminal add worker_1 --user ann",
        "client request --server gpu-1 --start soon --end +2h",
        "client show 12345",
        "client list --limit 51",
        "reservation cancel 01a207ac-4fe7-70d8-ad75-75af93e63c96 --operator olga",
        "client show --timeout 0 01a207ac-4fe7-70d8-ad75-75af93e63c96",
        "reservation history",
        "billing tail --count 0",
        "status --watch 0",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = holdfast(&[], &words).await;
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{line}: {run:?}");
        assert!(!run.stderr.is_empty(), "{line}");
    }
}

#[tokio::test]
async fn everything_wrong_with_the_configuration_is_told_at_once() {
    let mut missing = Transcript::new(&[("AMQP_URL", "")]);
    missing.run("worker", 78).await;
    missing.run("terminal add ann-1 --user ann", 78).await;
    missing.run("migrate", 78).await;
    missing.run("client show 01a207ac-4fe7-70d8-ad75-75af93e63c96", 78).await;
    missing.check("configuration_missing");

    let mut wrong = Transcript::new(&[
        ("DATABASE_URL", "postgre://me:s3cret@db/x"),
        ("AMQP_URL", "amqp://me:s3cret@mq/x?heartbeat=s3cret"),
        ("RABBITMQ_MANAGEMENT_URL", "s3cret"),
        ("HOLDFAST_BATCH_MAX", "257"),
        ("HOLDFAST_LADDER", "yes"),
        ("RUST_LOG", "a=b=c"),
    ]);
    let told = wrong.run("worker --sweep maybe --log-format xml", 78).await;
    assert!(!told.stderr.contains("s3cret"), "{told:?}");
    wrong.check("configuration_wrong");
}

#[tokio::test]
async fn an_engine_that_is_away_has_an_exit_code_of_its_own() {
    // Nothing listens on port 1.
    let away = [
        ("DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/x"),
        ("AMQP_URL", "amqp://me:s3cret@127.0.0.1:1/x"),
    ];
    for line in ["migrate", "server list", "worker", "billing tail", "topology verify"] {
        let run = holdfast(&away, &line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((run.code, run.stdout.as_str()), (75, ""), "{line}: {run:?}");
        assert!(run.stderr.starts_with("error: "), "{line}: {run:?}");
        assert!(line == "worker" || run.stderr.contains("127.0.0.1:1"), "{line}: {run:?}");
        assert!(!run.stderr.contains("s3cret"), "{line}: {run:?}");
    }
}

// --- operators

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_set_up_from_nothing() {
    let name = format!("setup_{}", Uuid::new_v4().simple());
    let database_url = engines::database_url(&name);
    let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
    admin.batch_execute(&format!("create database {name}")).await.expect("create database");
    engines::create_vhost(&name).await;
    let broker = engines::create_account(&name, &name).await;
    let amqp_url = engines::amqp_url(&name, engines::PASSWORD, &name);
    let environment = [("DATABASE_URL", database_url.as_str()), ("AMQP_URL", amqp_url.as_str())];

    let mut operator = Transcript::new(&environment);
    operator.run("migrate --check", 3).await;
    operator.run("worker --log-filter off", 1).await;
    operator.run("migrate", 0).await;
    operator.run("migrate", 0).await;
    operator.run("migrate --check", 0).await;
    operator.run("migrate --check --json", 0).await;
    operator.run("topology verify", 3).await;
    operator.run("worker --log-filter off", 1).await;
    operator.run("topology apply --partitions 2 --delay-levels 5", 0).await;
    operator.run("topology apply", 0).await;
    operator.run("topology apply --partitions 3", 0).await;
    operator.run("topology apply --partitions 2", 0).await;
    operator.run("topology apply --delay-levels 6 --json", 4).await;
    operator.run("topology verify", 0).await;
    let amqp = broker.connect("test").await.expect("the broker");
    let channel = amqp.create_channel().await.expect("a channel");
    let gone = partition_queue(1);
    let deleted = channel.queue_delete(gone.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("the queue is deleted");
    operator.run("topology verify", 3).await;
    operator.run("topology verify --json", 3).await;
    operator.run("worker --log-filter off", 1).await;
    operator.run("topology apply --json", 0).await;
    operator.run("topology verify", 0).await;

    let server =
        "--capacity 4 --rate-minor 1250 --currency EUR --connection-url https://gpu.example/";
    operator.run("server list", 0).await;
    operator.run(&format!("server add gpu-1 {server}"), 0).await;
    operator.run(&format!("server add gpu-1 {server}"), 4).await;
    operator.run(&format!("server add gpu-2 {server} --lead-seconds 60 --json"), 0).await;
    operator.run(&format!("server add gpu-3 {server} --min-seconds 90 --max-seconds 60"), 4).await;
    operator.run("server set gpu-2 --capacity 9", 0).await;
    operator.run("server set gpu-3 --capacity 9", 4).await;
    operator.run("server list", 0).await;
    operator.run("server list --json", 0).await;
    operator.run("user add ann", 0).await;
    operator.run("user add ann", 4).await;
    operator.run("user add bob --quota-seconds 3600 --holds-max 2 --json", 0).await;
    operator.run("policy show", 0).await;
    operator.run("policy set --quota-zone Europe/Berlin --quota-period week", 0).await;
    operator.run("policy set --quota-zone Mars/Olympus_Mons", 4).await;
    operator.run("policy show --json", 0).await;
    operator.check("setup");

    amqp.close().await.expect("the connection closes");
    engines::drop_vhost(&name).await;
    engines::drop_account(&name).await;
    engines::drop_database(&name).await;
}

/// What an operator of `stack` has in the environment.
/// A transcript of an operator of `stack`.
fn operator(stack: &Stack) -> Transcript {
    let environment = stack.operator_environment();
    let environment = environment.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut transcript = Transcript::new(&environment);
    transcript.mask(stack.suffix(), "<x>");
    transcript
}

/// The URL that `terminal add` printed works: a request is answered.
async fn works(stack: &Stack, added: &Run, name: &str) {
    let url = added.stdout.trim();
    let endpoint: Endpoint = url.parse().expect("an AMQP URL");
    assert_eq!(endpoint.account(), stack.named(name));
    assert!(!added.stderr.contains(endpoint.password()), "{added:?}");
    let mut terminal = Terminal::connect(&endpoint).await;
    let server = format!("for-{name}");
    let server = stack.server(&server, &[]).await;
    let held = terminal.accepted(&server, window(100_000, 60)).await;
    assert_eq!(held.state, "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_added_once_and_completed_if_it_was_interrupted() {
    let stack = Stack::new().await;
    let mut worker = stack.worker();
    let management = engines::management();
    let mut operator = operator(&stack);
    operator.run("user add ann", 0).await;
    operator.run("user add bob", 0).await;

    let new = stack.named("new");
    operator.run(&format!("terminal add {new} --user nobody"), 4).await;
    let added = operator.run(&format!("terminal add {new} --user ann"), 0).await;
    let password = added.stdout.trim().parse::<Endpoint>().expect("a URL").password().to_owned();
    works(&stack, &added, "new").await;
    operator.run(&format!("terminal add {new} --user ann"), 4).await;
    operator.run(&format!("terminal add {new} --user bob"), 4).await;

    // Interrupted right after it was registered, and right before it got its rights.
    let ann: UserId = "ann".parse().expect("an id");
    let (bare, half) = (stack.named("bare"), stack.named("half"));
    for id in [&bare, &half] {
        let id: TerminalId = id.parse().expect("an id");
        admin::terminals::insert_terminal(&stack.db, &id, &ann).await.expect("a terminal");
    }
    let hash = base64_encoded_salted_password_hash_sha256(&[1, 2, 3, 4], engines::PASSWORD);
    management.create_user(&UserParams::new(&half, &hash, "")).await.expect("an account");
    let mut passwords = vec![password];
    for (name, id) in [("bare", &bare), ("half", &half)] {
        let completed = operator.run(&format!("terminal add {id} --user ann"), 0).await;
        works(&stack, &completed, name).await;
        let endpoint: Endpoint = completed.stdout.trim().parse().expect("a URL");
        passwords.push(endpoint.password().to_owned());
    }
    operator.run(&format!("terminal add {half} --user ann"), 4).await;

    // Accounts that are no terminal's, with rights and without.
    let (other, idle) = (stack.named("other"), stack.named("idle"));
    engines::create_account(&other, &stack.vhost).await;
    management.create_user(&UserParams::new(&idle, &hash, "")).await.expect("an account");
    operator.run(&format!("terminal add {other} --user ann"), 4).await;
    operator.run(&format!("terminal add {idle} --user ann"), 4).await;
    // A registered terminal's namesake that is at work on another vhost keeps its password.
    let taken = stack.named("taken");
    let taken_id: TerminalId = taken.parse().expect("an id");
    admin::terminals::insert_terminal(&stack.db, &taken_id, &ann).await.expect("a terminal");
    let elsewhere = stack.named("elsewhere");
    engines::create_vhost(&elsewhere).await;
    engines::create_account(&taken, &elsewhere).await;
    operator.run(&format!("terminal add {taken} --user ann"), 4).await;

    // Whatever the workers' account sends is believed, so it cannot be a terminal's.
    let amqp_url = engines::amqp_url(&other, engines::PASSWORD, &stack.vhost);
    let line = format!("terminal add {other} --user ann --amqp-url {amqp_url}");
    let refused = operator.run(&line, 4).await;
    assert!(refused.stderr.contains("choose another id"), "{refused:?}");

    operator.mask(&amqp_url.replace(stack.suffix(), "<x>"), "<url>");
    for password in &passwords {
        operator.mask(password, "<password>");
    }
    let host = engines::AMQP_URL.host_str().expect("AMQP URLs have one");
    let port = engines::AMQP_URL.port().unwrap_or(5672);
    operator.mask(&format!("@{host}:{port}/"), "@<broker>/");
    operator.check("terminal");
    assert!(worker.stop().await.success());
    for account in [&new, &bare, &half, &other, &idle, &taken] {
        engines::drop_account(account).await;
    }
    engines::drop_vhost(&elsewhere).await;
    stack.finish().await;
}

// --- terminals

/// Noon of the tenth, the month after next: nowhere near the end of a quota period.
fn noon() -> DateTime<Utc> {
    let then = Utc::now() + Months::new(2);
    let day = then.date_naive().with_day(10).expect("every month has one");
    day.and_hms_opt(12, 0, 0).expect("noon").and_utc()
}

/// A terminal that nothing reads the replies of; returns its id and its AMQP URL.
async fn silent_terminal(stack: &Stack) -> (String, String) {
    let (id, ann) = (stack.named("silent"), "ann".parse().expect("an id"));
    let terminal: TerminalId = id.parse().expect("an id");
    admin::users::insert_user(&stack.db, &ann, None, None).await.expect("a user");
    admin::terminals::insert_terminal(&stack.db, &terminal, &ann).await.expect("a terminal");
    let password = "a-first-password";
    let made = stack.broker_accounts().create_terminal(&terminal, password).await;
    made.expect("an account");
    let url = engines::amqp_url(&id, password, &stack.vhost);
    (id, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_terminal_are_answered_refused_or_neither() {
    let stack = Stack::new().await;
    stack.server("cam", &[("capacity", &2i32), ("slot_seconds", &60i32)]).await;
    let (account, amqp_url) = silent_terminal(&stack).await;
    let mut worker = stack.worker();
    let mut terminal = Transcript::new(&[("AMQP_URL", amqp_url.as_str())]);
    terminal.mask(&account, "silent");
    let time = |hours: i64| (noon() + TimeDelta::hours(hours)).to_rfc3339();
    let wanted = format!("--server cam --start {} --end {}", time(0), time(2));
    for hours in 0..=2 {
        terminal.mask(&time(hours), "<time>");
    }

    let held = terminal.run(&format!("client request {wanted} --message-id m-1 --json"), 0).await;
    let Ok(Answer::Accepted { reservation, .. }) = serde_json::from_str(&held.stdout) else {
        panic!("not accepted: {held:?}");
    };
    let id = reservation.id;
    terminal.run(&format!("client request {wanted} --message-id m-1"), 0).await;
    terminal.run(&format!("client reconfirm --server cam {id}"), 0).await;
    terminal.run(&format!("client show {id} --json"), 0).await;
    terminal.run(&format!("client reconfirm --server other {id}"), 4).await;
    terminal.run(&format!("client request {wanted}"), 0).await;
    terminal.run(&format!("client request {wanted}"), 4).await;
    terminal.run(&format!("client request {wanted} --json"), 4).await;
    let mut operator = operator(&stack);
    operator.run("server set cam --capacity 1", 4).await;
    operator.run("server set cam --capacity 1 --json", 4).await;
    operator.run("server list", 0).await;
    operator.check("capacity");
    terminal.run(&format!("client withdraw --server cam {id}"), 0).await;
    terminal.run(&format!("client reconfirm --server cam {id}"), 4).await;
    terminal.run(&format!("client show {id}"), 0).await;
    terminal.run(&format!("client show {}", Uuid::nil()), 4).await;
    terminal.run("client list --limit 1", 0).await;
    terminal.run(&format!("client list --after {id}"), 0).await;
    terminal.run("client list --json", 0).await;
    terminal.run(&format!("client availability {wanted}"), 0).await;
    terminal.run(&format!("client availability {wanted} --json"), 0).await;
    terminal.run("client availability --server none --start +1h --end +2h", 4).await;
    terminal.run("client availability --server cam --start +1h --end +32d", 4).await;
    terminal.run("client request --server none --start +2h --end +1h", 4).await;
    terminal.run("client request --server none --start +1h --end +2h --message-id m-1", 4).await;

    assert!(worker.stop().await.success());
    let asked = format!("client request {wanted} --message-id m-2");
    terminal.run(&format!("{asked} --timeout 1"), 5).await;
    // With relative times, the command that is printed has absolute ones.
    let relative = "client request --server cam --start +5h --end +6h --timeout 1";
    let environment = [("AMQP_URL", amqp_url.as_str())];
    let lost = holdfast(&environment, &relative.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(lost.code, 5, "{lost:?}");
    let repeat = lost.stderr.lines().find_map(|line| line.strip_prefix("  holdfast "));
    let repeat = repeat.expect("the command to repeat").replace("--timeout 1", "--timeout 60");
    assert!(!repeat.contains('+'), "{repeat}");
    let id = repeat.split("--message-id ").nth(1).and_then(|rest| rest.split(' ').next());
    let id = id.expect("a message id");
    let mut worker = stack.worker();
    // Under the same id it gets the one answer there is.
    terminal.run(&format!("{asked} --timeout 60"), 0).await;
    let requests: i64 =
        stack.ask("select count(*) from processed_commands where message_id = 'm-2'", &[]).await;
    assert_eq!(requests, 1);
    for _ in 0..2 {
        let again = holdfast(&environment, &repeat.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(again.code, 0, "{again:?}");
    }
    let query = "select count(*) from processed_commands where message_id = $1";
    assert_eq!(stack.ask::<i64>(query, &[&id]).await, 1, "no second hold");
    terminal.check("client");
    assert!(worker.stop().await.success());
    engines::drop_account(&account).await;
    stack.finish().await;
}

// --- what became of it

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_why_and_the_tail_takes_nothing() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &3i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    // Without the sweep it is always the message that settles.
    let mut worker = stack.worker_with(&[("HOLDFAST_SWEEP", "off")]);
    let environment = stack.operator_environment();
    let environment = environment.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));

    let tail = ["billing", "tail", "--count", "1", "--timeout", "90"];
    let mut for_people = command(&environment, &tail).spawn().expect("it starts");
    let mut for_programs =
        command(&environment, &[&tail[..], &["--json"]].concat()).spawn().expect("it starts");
    for waiting in [&mut for_people, &mut for_programs] {
        let mut lines = BufReader::new(waiting.stderr.as_mut().expect("piped")).lines();
        let line = lines.next_line().await.expect("a line");
        assert_eq!(line.as_deref(), Some("waiting for billing events"));
    }

    let wanted = window(70, 1_800);
    let confirmed = terminal.accepted(&server, wanted).await.id;
    let cancelled = terminal.accepted(&server, wanted).await.id;
    let withdrawn = terminal.accepted(&server, wanted).await.id;
    terminal.reconfirm(&server, confirmed).await;
    terminal.withdraw(&server, withdrawn).await;
    terminal.notice_about(confirmed).await;
    terminal.notice_about(cancelled).await;

    let done = for_people.wait_with_output().await.expect("it ends");
    assert!(done.status.success(), "{done:?}");
    let line = String::from_utf8(done.stdout).expect("text");
    for said in ["confirmed", "18.00 EUR", "user ann", "server cam", &confirmed.to_string()] {
        assert!(line.contains(said), "{line}");
    }
    let done = for_programs.wait_with_output().await.expect("it ends");
    let event: CloudEvent<ConfirmedData> = serde_json::from_slice(&done.stdout).expect("an event");
    assert_eq!((event.subject, event.data.amount_minor), (confirmed, 1_800));
    stack.outbox_empty().await;
    let billed = stack.drain(BILLING_QUEUE).await;
    assert_eq!(billed.len(), 1, "the billing system gets it all the same");
    assert_eq!(billed[0].data.trim_ascii(), done.stdout.trim_ascii());
    let late = holdfast(&environment, &["billing", "tail", "--count", "1", "--timeout", "1"]).await;
    assert_eq!(late.code, 5, "{late:?}");

    let mut operator = operator(&stack);
    operator.run(&format!("reservation history {confirmed}"), 0).await;
    operator.run(&format!("reservation history {cancelled}"), 0).await;
    operator.run(&format!("reservation history {withdrawn}"), 0).await;
    operator.run(&format!("reservation history {}", Uuid::nil()), 4).await;
    operator.run(&format!("reservation show {confirmed}"), 0).await;
    operator.run(&format!("reservation show {withdrawn}"), 0).await;
    let ledger = format!(
        "billing ledger --from {} --to +1h --json",
        (Utc::now() - TimeDelta::days(1)).to_rfc3339()
    );
    let ledger = holdfast(&environment, &ledger.split(' ').collect::<Vec<_>>()).await;
    let ledger: Value = serde_json::from_str(&ledger.stdout).expect("JSON");
    assert_eq!(ledger["totals"]["EUR"]["net_minor"], 1_800);
    let shown = cancelled.to_string();
    let told = holdfast(&environment, &["reservation", "history", &shown, "--json"]).await;
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    let settled = &told["history"][1];
    assert_eq!(told["reservation"]["cancel_reason"], "not_reconfirmed");
    assert_eq!((&settled["actor"], &settled["trigger"]), (&"deadline".into(), &"message".into()));
    assert!(settled["lateness_ms"].as_i64().is_some_and(|late| late >= 0), "{settled}");
    operator.check("history");

    assert!(worker.stop().await.success());
    tokio::time::timeout(Duration::from_secs(60), stack.finish()).await.expect("it ends");
}
