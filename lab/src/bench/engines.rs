//! Kills the private engines and restarts them with the programs that `./dev` left in its state
//! directory.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// Bound on stopping an engine, and on starting it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Database,
    Broker,
}

impl Engine {
    /// Its program, pid file and log.
    fn files(self) -> [&'static str; 3] {
        match self {
            Engine::Database => ["postgres", "pgdata/postmaster.pid", "postgres.log"],
            Engine::Broker => ["rabbitmq-server", "rabbitmq/pid", "rabbitmq-console.log"],
        }
    }

    /// The signal that acts like a power failure: the engine must recover from its log.
    fn blow(self) -> Signal {
        match self {
            Engine::Database => Signal::SIGQUIT,
            Engine::Broker => Signal::SIGKILL,
        }
    }
}

pub struct Engines(PathBuf);

impl Engines {
    /// The engines that `./dev` has started. `None` if the caller brought other ones.
    pub fn find() -> Option<Self> {
        let state = PathBuf::from(std::env::var_os("HOLDFAST_DEV_STATE")?);
        state.join("postgres").is_file().then_some(Self(state))
    }

    /// Kills it at once.
    pub async fn stop(&self, engine: Engine) -> Result<()> {
        let file = engine.files()[1];
        let text = std::fs::read_to_string(self.0.join(file)).context(file)?;
        let pid = text.split_whitespace().next().context("an empty pid file")?.parse()?;
        let pid = Pid::from_raw(pid);
        kill(pid, engine.blow()).with_context(|| format!("stopping {engine:?}"))?;
        let until = Instant::now() + PATIENCE;
        while runs(pid) {
            if Instant::now() > until {
                bail!("{engine:?} does not end");
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Starts it and waits until `up` succeeds.
    pub async fn start(&self, engine: Engine, up: impl AsyncFn() -> Result<()>) -> Result<()> {
        let [program, _, log] = engine.files();
        let log = self.0.join("log").join(log);
        let log = std::fs::File::options().append(true).create(true).open(log)?;
        let mut child = Command::new(self.0.join(program))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for us, and `./dev` ends the engines.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {engine:?}"))?;
        let until = Instant::now() + PATIENCE;
        while let Err(error) = up().await {
            if let Some(status) = child.try_wait()? {
                bail!("{engine:?} did not start: {status}");
            }
            if Instant::now() > until {
                return Err(error.context(format!("{engine:?} does not come up again")));
            }
            sleep(LOOK_INTERVAL).await;
        }
        // Wait for it when it ends: a zombie would look alive.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }
}

fn runs(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}
