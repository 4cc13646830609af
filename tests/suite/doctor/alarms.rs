//! A broker whose alarm is on. It stops everybody who publishes, so this one is private: a second node beside
//! the one that the tests share.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::examined;
use crate::support::facts;
use crate::support::program::holdfast;
use crate::support::stack::Stack;

/// Asks a management API. Fails if it answers with an error.
pub async fn api(base: &str, method: &str, path: &str) -> Value {
    asked(base, method, path).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

async fn asked(base: &str, method: &str, path: &str) -> Result<Value, reqwest::Error> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut url: Url = base.parse().expect("a URL");
    let account = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
    url.set_username("").expect("http URLs have one");
    url.set_password(None).expect("http URLs have one");
    let url = format!("{}/api/{path}", url.as_str().trim_end_matches('/'));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.request(method.parse().expect("a method"), url);
    let response =
        request.basic_auth(account.0, Some(account.1)).send().await?.error_for_status()?;
    Ok(serde_json::from_slice(&response.bytes().await?).unwrap_or_default())
}

/// A broker of one test. Killed when dropped.
struct Broker {
    child: Child,
    directory: PathBuf,
    amqp_url: String,
    management_url: String,
}

fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}

/// The value behind a key in a text of lines.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let found = text.split_whitespace().find_map(|word| word.strip_prefix(&format!("{key}=")));
    found.unwrap_or_else(|| panic!("no {key}: {text}"))
}

impl Broker {
    /// Starts one like the one of `./dev`. `None` with engines of one's own.
    async fn start() -> Option<Self> {
        let state = std::env::var("HOLDFAST_DEV_STATE").ok().map(PathBuf::from);
        let shared = state.as_ref().map(|state| state.join("rabbitmq")).filter(|dir| dir.is_dir());
        let Some((state, shared)) = state.zip(shared) else {
            eprintln!("skipped: these engines are not of `./dev`");
            return None;
        };
        let directory = std::env::temp_dir().join(format!("broker-{}", Uuid::new_v4().simple()));
        fs::create_dir_all(directory.join("home")).expect("a directory");
        let [amqp, http, dist] = [free_port(), free_port(), free_port()];
        let moved = |text: String| {
            let text =
                text.replace(&shared.display().to_string(), &directory.display().to_string());
            text.replace(&state.join("log").display().to_string(), &directory.display().to_string())
        };
        let environment = moved(fs::read_to_string(shared.join("environment")).expect("settings"));
        let name = format!("doctor-{}@localhost", Uuid::new_v4().simple());
        let environment = [
            ("RABBITMQ_NODENAME", name.as_str()),
            ("RABBITMQ_NODE_PORT", &amqp),
            ("RABBITMQ_DIST_PORT", &dist),
        ]
        .iter()
        .fold(environment, |text, (key, new)| {
            let old = format!("{key}={}", value(&text, key));
            text.replace(&old, &format!("{key}={new}"))
        });
        fs::write(directory.join("environment"), environment).expect("written");
        let settings = moved(fs::read_to_string(shared.join("rabbitmq.conf")).expect("settings"));
        let password = settings.lines().find_map(|line| line.strip_prefix("default_pass = "));
        let password = password.expect("a password").to_owned();
        let kept: Vec<String> = settings
            .lines()
            .filter(|line| !line.contains("ssl"))
            .map(|line| match line.split_once(" = ") {
                Some((key @ "listeners.tcp.local", _)) => format!("{key} = 127.0.0.1:{amqp}"),
                Some((key @ "management.tcp.port", _)) => format!("{key} = {http}"),
                _ => line.to_owned(),
            })
            .collect();
        fs::write(directory.join("rabbitmq.conf"), kept.join("\n")).expect("written");
        for file in ["enabled_plugins", "advanced.config", "rabbitmq-env.conf"] {
            fs::copy(shared.join(file), directory.join(file)).expect("copied");
        }
        let child = program(&directory, "exec /usr/lib/rabbitmq/bin/rabbitmq-server");
        let broker = Self {
            child,
            directory,
            amqp_url: format!("amqp://broker-admin:{password}@127.0.0.1:{amqp}/%2f"),
            management_url: format!("http://broker-admin:{password}@127.0.0.1:{http}"),
        };
        facts::until("the private broker answers", async || {
            let path = "health/checks/virtual-hosts";
            asked(&broker.management_url, "GET", path).await.is_ok()
        })
        .await;
        Some(broker)
    }

    fn control(&self, arguments: &str) {
        let command = format!("exec /usr/lib/rabbitmq/bin/rabbitmqctl {arguments}");
        let done = program(&self.directory, &command).wait().expect("it runs");
        assert!(done.success(), "rabbitmqctl {arguments}");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        killpg(group, Signal::SIGKILL).ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// A program in a process group of its own, with the broker's environment.
fn program(directory: &Path, command: &str) -> Child {
    let text = format!(". '{0}/environment'; cd '{0}' && {command}", directory.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &text]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.process_group(0).spawn().expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_and_blocked_connections() {
    let Some(broker) = Broker::start().await else { return };
    let stack = Stack::new().await;
    let environment = [
        ("DATABASE_URL", stack.database_url.as_str()),
        ("AMQP_URL", broker.amqp_url.as_str()),
        ("RABBITMQ_MANAGEMENT_URL", broker.management_url.as_str()),
    ];
    let applied = holdfast(&environment, &["topology", "apply"]).await;
    assert_eq!(applied.code, 0, "{applied:?}");
    let until = async |level: &str, alarms: &[&str], blocked: &[&str]| {
        facts::until(&format!("both are {level}"), async || {
            let report = examined(&environment, &["--no-probe"]).await;
            println!("{}\n{}", report.told("broker.alarms"), report.told("broker.blocked"));
            report.is("broker.alarms", level, alarms) && report.is("broker.blocked", level, blocked)
        })
        .await;
    };
    until("green", &[], &[]).await;
    broker.control("set_vm_memory_high_watermark 0.00001");
    let alarms = [": memory", "vm_memory_high_watermark", "takes no messages"];
    until("red", &alarms, &["block", "free memory or disk"]).await;
    broker.control("set_vm_memory_high_watermark absolute 2GB");
    until("green", &[], &[]).await;
    stack.finish().await;
}
