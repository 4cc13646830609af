//! The examples as programs. Where the languages are, the development script tells.

use std::path::Path;

use holdfast::broker::connection::Endpoint;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::engines::{amqp_url, variable};
use crate::support::facts::PATIENCE;
use crate::support::program::{Run, bare, ended};

/// Prints the ids in a Python biller's database.
const IDS_IN_PYTHON: &str = "import sqlite3, sys
for id, in sqlite3.connect(sys.argv[1]).execute('SELECT id FROM entries ORDER BY rowid'): print(id)";

/// The trace of what starts an example.
pub const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A language that has examples.
#[derive(Clone, Copy)]
pub enum Language {
    Python,
    Node,
    Rust,
}

/// Where a biller stores what it takes.
pub struct Ledger {
    folder: TempDir,
}

impl Ledger {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self) -> String {
        self.folder.path().join("ledger").to_str().expect("text").to_owned()
    }
}

impl Language {
    fn python() -> Command {
        bare(&variable("HOLDFAST_PYTHON"), &[])
    }

    /// The example `name`.
    fn program(self, name: &str) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        match self {
            Self::Python => {
                let mut command = Self::python();
                command.arg(folder.join(format!("python/{name}.py")));
                command
            }
            Self::Node => {
                let modules = variable("HOLDFAST_NODE_PATH");
                let mut command = bare(&variable("HOLDFAST_NODE"), &[("NODE_PATH", &modules)]);
                command.arg(folder.join(format!("node/{name}.js")));
                command
            }
            // `cargo test` builds examples beside the program, unless it builds only some targets.
            Self::Rust => {
                let program = Path::new(env!("CARGO_BIN_EXE_holdfast"));
                let built = program.with_file_name("examples").join(name);
                bare(built.to_str().expect("text"), &[])
            }
        }
    }

    /// Starts the example `name` with a broker account.
    pub fn start(self, name: &str, account: &Endpoint, arguments: &[String]) -> Example {
        let url = amqp_url(account.account(), account.password(), account.vhost());
        // As operators give it out, without the tests' short heartbeat.
        let url = url.split('?').next().expect("a URL").to_owned();
        let mut command = self.program(name);
        Example(
            command
                .args(arguments)
                .env("AMQP_URL", url)
                .env("TRACEPARENT", TRACE)
                .spawn()
                .expect("it starts"),
        )
    }

    /// The ids of what a biller has stored, in order.
    pub async fn entries(self, ledger: &Ledger) -> Vec<String> {
        match self {
            Self::Python => {
                let mut command = Self::python();
                command.args(["-c", IDS_IN_PYTHON, &ledger.path()]);
                let run = ended(command.spawn().expect("Python starts")).await;
                assert_eq!(run.code, 0, "{run:?}");
                run.stdout.lines().map(str::to_owned).collect()
            }
            Self::Node | Self::Rust => {
                let text = std::fs::read_to_string(ledger.path()).expect("a ledger");
                let event = |line| serde_json::from_str::<Value>(line).expect("an event");
                text.lines().map(|line| event(line)["id"].as_str().expect("an id").into()).collect()
            }
        }
    }
}

/// A running example. Killed when dropped.
pub struct Example(Child);

impl Example {
    /// Waits until it prints a line that begins with `text`.
    pub async fn says(&mut self, text: &str) {
        let mut lines = BufReader::new(self.0.stdout.as_mut().expect("piped")).lines();
        let said = async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.starts_with(text) {
                    return;
                }
            }
            panic!("it ended without saying {text}");
        };
        timeout(PATIENCE, said).await.expect("it says something");
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.0.id().expect("it is running");
        kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), signal)
            .expect("it is there");
    }

    /// Waits until it has ended.
    pub async fn ended(self) -> Run {
        timeout(PATIENCE, ended(self.0)).await.expect("it ends")
    }
}
