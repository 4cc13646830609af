//! Waits end: by themselves, with a message, and at once when told to stop.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::engines::{self, AMQP_URL, DATABASE_URL};
use crate::support::facts;
use crate::support::program::{bare, command, ended, holdfast};
use crate::support::stack::Stack;
use crate::support::terminal::window;

/// Longer than any bound on connecting, and shorter than a test's patience.
const SOON: Duration = Duration::from_secs(30);

/// The lock of migrations.
const MIGRATION_LOCK: i64 = 0x686f_6c64_6661_7374;

/// Accepts connections and says nothing.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    fn database(&self) -> String {
        format!("postgres://a:b@{}/x", self.address())
    }
}

/// `url` with a silent host before its own.
fn behind(silent: &Silent, url: &str) -> String {
    let (account, place) = url.split_once('@').expect("an account");
    format!("{account}@{},{place}", silent.address())
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().expect("it runs")).expect("a process id"))
}

/// Waits until a process has asked for SIGTERM.
async fn handles_sigterm(pid: Pid) {
    facts::until("it handles SIGTERM", async || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        caught.is_some_and(|mask| mask & (1 << (Signal::SIGTERM as u64 - 1)) != 0)
    })
    .await;
}

#[tokio::test]
async fn a_silent_database_ends_a_command_and_a_starting_worker() {
    let silent = Silent::new();
    let (url, amqp) = (silent.database(), AMQP_URL.to_string());
    let environment = [("DATABASE_URL", url.as_str()), ("AMQP_URL", amqp.as_str())];
    for arguments in [&["migrate"][..], &["server", "list"], &["worker"]] {
        let began = Instant::now();
        let run = holdfast(&environment, arguments).await;
        assert_eq!(run.code, 75, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("does not answer"), "{run:?}");
        assert!(began.elapsed() < SOON, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_signal_ends_a_command_that_waits() {
    let silent = Silent::new();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let url = silent.database();
        let waiting = command(&[("DATABASE_URL", &url)], &["server", "list"]).spawn().unwrap();
        handles_sigterm(pid(&waiting)).await;
        kill(pid(&waiting), signal).expect("it runs");
        assert_eq!(ended(waiting).await.code, code);
    }
}

/// The kernel ignores signals to process 1 that it does not handle.
#[tokio::test]
async fn a_signal_ends_process_1() {
    let silent = Silent::new();
    let (url, amqp) = (silent.database(), AMQP_URL.to_string());
    let environment = [("DATABASE_URL", url.as_str()), ("AMQP_URL", amqp.as_str())];
    for arguments in [&["server", "list"][..], &["worker"]] {
        let mut unshare = bare("unshare", &environment);
        unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
        unshare.arg(env!("CARGO_BIN_EXE_holdfast")).args(arguments);
        let outer = unshare.env("PATH", std::env::var("PATH").unwrap()).spawn().expect("unshare");
        let children = format!("/proc/{0}/task/{0}/children", pid(&outer));
        let inner = facts::found("process 1", async || {
            let children = std::fs::read_to_string(&children).ok()?;
            children.trim().parse().ok().map(Pid::from_raw)
        })
        .await;
        handles_sigterm(inner).await;
        let began = Instant::now();
        kill(inner, Signal::SIGTERM).expect("it runs");
        let run = ended(outer).await;
        assert!([0, 143].contains(&run.code), "{run:?}");
        assert!(!run.stderr.contains("does not answer"), "it has waited to the end: {run:?}");
        assert!(began.elapsed() < SOON);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_host_before_the_database_is_passed() {
    let silent = Silent::new();
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let url = behind(&silent, &stack.database_url);
    stack.operate(&[("DATABASE_URL", &url)], "server list", 0).await;
    let read = behind(&silent, &stack.worker_url);
    let environment = [("DATABASE_URL", read.as_str()), ("DATABASE_READ_URL", read.as_str())];
    let mut worker = stack.worker_with(&environment);
    let held = terminal.accepted(&server, window(100, 60)).await;
    terminal.show(held.id).await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_of_the_broker_is_passed_once() {
    let silent = Silent::new();
    let stack = Stack::new().await;
    let broker = SocketAddr::from(([127, 0, 0, 1], AMQP_URL.port().expect("a port")));
    let addresses = vec![silent.address(), broker];
    let first = stack.broker.connect_at(addresses.clone(), "test").await.expect("the second one");
    let began = Instant::now();
    let second = stack.broker.connect_at(addresses, "test").await.expect("the one that answered");
    assert!(began.elapsed() < Duration::from_secs(5), "it is tried first");
    first.close().await.expect("closed");
    second.close().await.expect("closed");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_says_for_whom() {
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    let url = engines::create_database(&name).await;
    let holder = engines::connect(&url).await;
    holder.batch_execute("set application_name = 'night shift'").await.expect("set");
    holder.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.expect("the lock");
    let mut waiting = command(&[("DATABASE_URL", &url)], &["migrate"]).spawn().expect("it runs");
    let mut lines = BufReader::new(waiting.stderr.take().expect("piped")).lines();
    let line = lines.next_line().await.expect("a text").expect("a line");
    for words in ["waiting for the lock of migrations", "night shift", "connected since"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    drop(holder);
    assert_eq!(ended(waiting).await.code, 0);
    engines::drop_database(&name).await;
}

#[tokio::test]
async fn deadlines_without_ladder_and_sweep_are_refused() {
    let (database, amqp) = (DATABASE_URL.to_string(), AMQP_URL.to_string());
    let environment = [
        ("DATABASE_URL", database.as_str()),
        ("AMQP_URL", amqp.as_str()),
        ("HOLDFAST_LADDER", "off"),
        ("HOLDFAST_SWEEP", "off"),
    ];
    let run = holdfast(&environment, &["worker"]).await;
    assert_eq!(run.code, 78, "{run:?}");
    assert!(run.stderr.contains("nothing settles deadlines"), "{run:?}");
}
