//! Commands of `docs/operations.md`, apart from names, hosts and what has to be another's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::program::{Run, bare, ended};
use crate::support::stack::Stack;
use crate::support::{engines, program};

const RUNBOOK: &str = include_str!("../../../docs/operations.md");

/// What a line of commands begins with.
const PROGRAMS: [&str; 6] =
    ["holdfast ", "pg_dump ", "pg_restore ", "psql ", "rabbitmqctl ", "sudo "];

/// The runbook, for one installation.
pub struct Runbook {
    environment: Vec<(String, String)>,
    database: String,
    vhost: String,
    folder: tempfile::TempDir,
}

/// The indented commands below a heading, continued lines joined.
fn commands(heading: &str) -> Vec<String> {
    let (_, below) = RUNBOOK.split_once(&format!("# {heading}\n")).expect("the heading");
    let section = below.split("\n#").next().expect("one part at least").replace("\\\n", " ");
    let lines = section.lines().filter_map(|line| line.strip_prefix("    "));
    let lines = lines.filter(|line| PROGRAMS.iter().any(|program| line.starts_with(program)));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

impl Runbook {
    pub fn new(stack: &Stack) -> Self {
        let mut environment = stack.operator_environment().to_vec();
        let server = &*engines::DATABASE_URL;
        let binaries = Path::new(env!("CARGO_BIN_EXE_holdfast")).parent().expect("a folder");
        let path = format!("{}:/usr/bin:/bin", binaries.display());
        // `sudo -u postgres` is for whoever has the server; here it is reached by its superuser.
        let superuser = [
            ("PGHOST", server.host_str().expect("a host").to_owned()),
            ("PGPORT", server.port().expect("a port").to_string()),
            ("PGUSER", server.username().to_owned()),
            ("PGPASSWORD", server.password().expect("a password").to_owned()),
            ("RABBITMQCTL", engines::variable("HOLDFAST_RABBITMQCTL")),
            ("PATH", path),
        ];
        environment.extend(superuser.map(|(name, value)| (name.to_owned(), value)));
        Self {
            environment,
            database: format!("t_{}", stack.suffix()),
            vhost: stack.vhost.clone(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn definitions(&self) -> PathBuf {
        self.folder().join("definitions.json")
    }

    /// A command with this installation's names.
    fn ours(&self, command: &str) -> String {
        let name = if command.starts_with("rabbitmqctl ") { &self.vhost } else { &self.database };
        let definitions = self.definitions();
        command
            .replace("sudo -u postgres ", "")
            .replace("reservations", name)
            // Their owner here.
            .replace("--owner=holdfast ", "")
            // `rabbitmqctl` changes its folder.
            .replace("definitions.json", definitions.to_str().expect("text"))
            .replace("schema/", concat!(env!("CARGO_MANIFEST_DIR"), "/schema/"))
            .replace("rabbitmqctl ", "\"$RABBITMQCTL\" --quiet ")
    }

    /// Types the commands below a heading, and expects each to succeed.
    pub async fn follow(&self, heading: &str) {
        let commands = commands(heading);
        assert!(!commands.is_empty(), "{heading}: no commands");
        // The server's roles are others', too, and were not lost.
        let commands = commands.iter().filter(|command| !command.contains("roles.sql"));
        let script: Vec<String> = commands.map(|command| self.ours(command)).collect();
        let run = self.bash(&format!("set -euo pipefail\n{}", script.join("\n"))).await;
        assert_eq!(run.code, 0, "{heading}: {script:#?}\n{run:?}");
    }

    async fn bash(&self, script: &str) -> Run {
        let environment = self.environment.iter();
        let environment: Vec<(&str, &str)> =
            environment.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut shell = bare("bash", &environment);
        shell.args(["-c", script]).current_dir(self.folder());
        let run = ended(shell.spawn().expect("bash"));
        tokio::time::timeout(Duration::from_secs(300), run).await.expect("it ends")
    }

    /// Takes out of the broker's definitions what is other tests'.
    pub fn import_only_ours(&self, accounts: &[String]) {
        let text = fs::read_to_string(self.definitions()).expect("definitions");
        let mut all: Value = serde_json::from_str(&text).expect("JSON");
        for (name, list) in all.as_object_mut().expect("an object") {
            let Some(list) = list.as_array_mut() else { continue };
            list.retain(|item| match name.as_str() {
                "vhosts" => item["name"] == self.vhost.as_str(),
                "users" => accounts.iter().any(|account| item["name"] == account.as_str()),
                _ => item["vhost"] == self.vhost.as_str(),
            });
            let kept = ["vhosts", "users", "permissions", "queues", "exchanges", "bindings"];
            assert!(!kept.contains(&name.as_str()) || !list.is_empty(), "{name}: {text}");
        }
        fs::write(self.definitions(), all.to_string()).expect("written");
    }

    /// What step 6 prints, as JSON. It finds something.
    pub async fn reconcile(&self) -> String {
        let commands = commands("6. Find what is lost");
        let [reconcile] = &commands[..] else { panic!("{commands:?}") };
        let since = "2031-05-01T12:00:00Z";
        assert!(reconcile.contains(since), "{reconcile}");
        let line = reconcile.replace(since, "-1d") + " --json";
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let environment = self.environment.iter();
        let environment: Vec<(&str, &str)> =
            environment.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut command = program::command(&environment, &words);
        let run = ended(command.current_dir(self.folder()).spawn().expect("holdfast")).await;
        assert_eq!(run.code, 3, "{run:?}");
        run.stdout
    }
}
