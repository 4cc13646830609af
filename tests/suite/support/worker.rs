//! Workers and gates as processes of their own, to be stopped, frozen and killed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::facts;

/// A `holdfast worker` or `holdfast gate` process. Killed when dropped.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts one with `environment` on top of an otherwise empty one.
    pub fn start(environment: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir();
        let log = dir.join(format!("worker-{}.log", uuid::Uuid::new_v4().simple()));
        let file = File::create(&log).expect("a log file");
        Self::logging_to("worker", environment, file.into(), log)
    }

    /// Starts a gate instead, with its log at `log`, behind what is there.
    pub fn start_gate(environment: &[(&str, &str)], log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        Self::logging_to("gate", environment, file.into(), log)
    }

    /// Starts one whose standard error is `output`.
    pub fn start_into(environment: &[(&str, &str)], output: Stdio) -> Self {
        Self::logging_to("worker", environment, output, PathBuf::new())
    }

    fn logging_to(
        subcommand: &str,
        environment: &[(&str, &str)],
        output: Stdio,
        log: PathBuf,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg(subcommand).env_clear();
        command.env("RUST_LOG", "info,holdfast=debug,lapin::returned_messages=error");
        command.envs(environment.iter().copied());
        // How the development script finds processes that a dying test leaves behind.
        if let Ok(state) = std::env::var("HOLDFAST_DEV_STATE") {
            command.env("HOLDFAST_DEV_STATE", state);
        }
        let child = command
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .expect("the worker starts");
        Self { child, log }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("the process is there");
    }

    /// Freezes it, as a stalled machine would.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Wakes it.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it on the spot.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("it is gone");
    }

    /// Asks it to drain.
    pub fn tell_to_stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Asks it to drain and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.tell_to_stop();
        self.ended().await
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        facts::found("the worker ends", async || child.try_wait().expect("a status")).await
    }

    /// Whether it is still running.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_none()
    }

    /// The most memory that it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the process is there");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        kibibytes.and_then(|number| number.parse::<u64>().ok()).expect("a number of kB") << 10
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has logged this. The log is written behind the work, so an answer may come first.
    pub async fn logged(&self, text: &str) {
        facts::until(&format!("the log says {text}"), async || self.log().contains(text)).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- end of {}", self.log.display());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}
