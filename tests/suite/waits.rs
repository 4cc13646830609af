//! Waits end: by themselves, with a message, and at once when told to stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use holdfast::store::pool;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::timeout;

use crate::support::engines::{self, AMQP_URL, DATABASE_URL};
use crate::support::facts::{self, PATIENCE};
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

    /// Counts those that have connected.
    fn connected(&self) -> usize {
        self.0.set_nonblocking(true).expect("a socket");
        self.0.incoming().take_while(Result::is_ok).count()
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
        let run = timeout(PATIENCE, holdfast(&environment, arguments)).await.expect("it ends");
        assert_eq!(run.code, 75, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains("does not answer"), "{run:?}");
        assert!(began.elapsed() < SOON, "{arguments:?}");
    }
}

/// Passes on what is said to the database until the client says `last`, and then nothing, as a machine that is
/// frozen. Returns its port.
async fn freezing(last: &'static str) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_until(last, client));
        }
    });
    port
}

async fn pass_until(last: &str, mut client: TcpStream) -> io::Result<()> {
    let database = SocketAddr::from(([127, 0, 0, 1], DATABASE_URL.port().expect("a port")));
    let mut server = TcpStream::connect(database).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut buffer = vec![0; 16 << 10];
    let up = async {
        loop {
            let length = from_client.read(&mut buffer).await?;
            let said = String::from_utf8_lossy(&buffer[..length]);
            if length == 0 || said.contains(last) {
                return io::Result::Ok(());
            }
            to_server.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! {
        _ = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
    // The socket stays open.
    tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await.map(drop)
}

#[tokio::test]
async fn a_database_that_freezes_ends_a_command() {
    let name = format!("t_{}", uuid::Uuid::new_v4().simple());
    let mut url: url::Url = engines::create_database(&name).await.parse().expect("a URL");
    url.set_port(Some(freezing("from servers").await)).expect("a port");
    let environment = [("DATABASE_URL", url.as_str())];
    let listed = timeout(PATIENCE, holdfast(&environment, &["server", "list"]));
    let run = listed.await.expect("it ends");
    assert_eq!(run.code, 75, "{run:?}");
    assert!(run.stderr.contains("no answer from the database within"), "{run:?}");
    engines::drop_database(&name).await;
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

#[tokio::test]
async fn the_database_that_answered_last_is_tried_first() {
    let silent = Silent::new();
    let url = behind(&silent, DATABASE_URL.as_str());
    let settings = pool::settings(&url.parse().expect("a URL"));
    for _ in 0..2 {
        drop(settings.connect().await.expect("the second one"));
    }
    assert_eq!(silent.connected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_of_the_broker_is_passed_once() {
    let silent = Silent::new();
    let stack = Stack::new().await;
    let broker = SocketAddr::from(([127, 0, 0, 1], AMQP_URL.port().expect("a port")));
    let addresses = vec![silent.address(), broker];
    // One that knows of no address yet.
    let (account, password) = (stack.broker.account(), stack.broker.password());
    let endpoint = engines::endpoint(account, password, &stack.vhost);
    let first = endpoint.connect_at(addresses.clone(), "test").await.expect("the second one");
    let second = endpoint.connect_at(addresses, "test").await.expect("the one that answered");
    assert_eq!(silent.connected(), 1, "then it is tried first");
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
    let line = timeout(PATIENCE, lines.next_line()).await.expect("it says so");
    let line = line.expect("a text").expect("a line");
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
