//! The private engines as processes: stopped, killed, frozen and started again.
//!
//! `./dev` has left the programs that start them in its state directory. Whatever is started there
//! inherits the variable by which `./dev` finds and ends it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::installation::Installation;

/// For an engine to end, and to come up again on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// For the broker's control program, which is a virtual machine of its own.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);

/// Before a server that did not come up is started again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The engines' logs.
pub const BROKER_LOG: &str = "rabbitmq.log";
pub const DATABASE_LOG: &str = "postgres.log";

pub struct Engines {
    state: PathBuf,
}

impl Engines {
    /// The engines that `./dev` has started; `None` if they are the caller's own.
    pub fn find() -> Option<Self> {
        let state = PathBuf::from(std::env::var_os("HOLDFAST_DEV_STATE")?);
        state.join("postgres").is_file().then_some(Self { state })
    }

    /// Sends a signal to the database's first process: INT and QUIT stop it, fast and immediately.
    pub async fn stop_database(&self, signal: Signal) -> Result<()> {
        let pid = self.pid("pgdata/postmaster.pid")?;
        kill(pid, signal).context("signalling the database")?;
        gone(pid).await
    }

    pub async fn start_database(&self, installation: &Installation) -> Result<()> {
        self.await_database(installation, Instant::now()).await
    }

    /// Waits until it is there; starts it if it does not run at `next_try` or later.
    async fn await_database(
        &self,
        installation: &Installation,
        mut next_try: Instant,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        // Orphans of a killed server keep the next one from starting for a moment.
        while installation.database().await.is_err() {
            if self.pid("pgdata/postmaster.pid").is_err() && Instant::now() >= next_try {
                self.start("postgres", &[], DATABASE_LOG)?;
                next_try = Instant::now() + RETRY_AFTER;
            }
            if Instant::now() > until {
                bail!("the database does not come up again");
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Starts the database, whose clock then is what a file says ([`set_clock`](Self::set_clock)).
    pub async fn start_database_with_clock(&self, installation: &Installation) -> Result<()> {
        std::env::var("HOLDFAST_FAKETIME").context("there is no libfaketime")?;
        self.set_clock("+0")?;
        self.start("postgres-with-clock", &[], DATABASE_LOG)?;
        self.await_database(installation, Instant::now() + RETRY_AFTER).await
    }

    /// Sets the clock of a database that was started for it, while it runs: it notices within a second.
    pub fn set_clock(&self, offset: &str) -> Result<()> {
        // Never seen half written.
        let new = self.clock_file().with_extension("new");
        std::fs::write(&new, offset)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o644))?;
        std::fs::rename(&new, self.clock_file()).context("the clock's file")
    }

    /// Whether the database that runs was started for it.
    pub fn has_clock(&self) -> bool {
        let maps = self.pid("pgdata/postmaster.pid").map(|pid| format!("/proc/{pid}/maps"));
        let maps = maps.and_then(|path| Ok(std::fs::read_to_string(path)?)).unwrap_or_default();
        maps.contains("libfaketime")
    }

    fn clock_file(&self) -> PathBuf {
        self.state.join("clock")
    }

    /// Copies the database's server at a port, and starts the copy, which follows it; returns its port.
    pub async fn start_standby(&self, of: u16) -> Result<u16> {
        // Free now, and nobody else is told so by the system soon.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let dir = self.state.join(format!("standby-{port}"));
        let dir = dir.to_str().context("a path in UTF-8")?;
        self.start("standby", &[dir, &of.to_string(), &port.to_string()], "standby.log")?;
        Ok(port)
    }

    /// Stops and removes all former standbys but the one at a port: servers take room.
    pub async fn retire_standbys(&self, but: u16) -> Result<()> {
        let but = format!("standby-{but}");
        for entry in std::fs::read_dir(&self.state)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("standby-") || name == but {
                continue;
            }
            if let Ok(pid) = self.pid(&format!("{name}/postmaster.pid")) {
                kill(pid, Signal::SIGQUIT).ok();
                gone(pid).await?;
            }
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("removing {name}"))?;
        }
        Ok(())
    }

    /// Kills one of the database's sessions on the spot, upon which it takes all others down and
    /// recovers. Returns whether there was one.
    pub fn kill_backend(&self, pid: i32) -> bool {
        kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
    }

    /// A file on the database's disk, to fill it up with; `None` if it is not one of its own.
    pub fn ballast(&self) -> Option<PathBuf> {
        let dir = self.state.join("pgdata");
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let own = mounts.lines().any(|line| line.split(' ').nth(1) == dir.to_str());
        own.then(|| dir.join("ballast"))
    }

    /// Stops or restarts the clock of all the database's processes.
    pub fn signal_database(&self, signal: Signal) -> Result<()> {
        let first = self.pid("pgdata/postmaster.pid")?;
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).context("the database's processes")?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in children.map(Pid::from_raw).chain([first]) {
            // One may have ended meanwhile.
            kill(pid, signal).ok();
        }
        Ok(())
    }

    pub async fn kill_broker(&self) -> Result<()> {
        let pid = self.pid("rabbitmq/pid")?;
        kill(pid, Signal::SIGKILL).context("killing the broker")?;
        gone(pid).await
    }

    pub fn start_broker(&self) -> Result<()> {
        self.start("rabbitmq-server", &[], "rabbitmq-console.log")
    }

    pub fn signal_broker(&self, signal: Signal) -> Result<()> {
        kill(self.pid("rabbitmq/pid")?, signal).context("signalling the broker")
    }

    /// Waits until the broker takes connections to our vhost and all of its queues have a leader.
    pub async fn broker_up(&self, installation: &Installation) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = usable(installation).await {
            if Instant::now() > until {
                bail!("the broker does not come up again: {error:#}");
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Runs `rabbitmqctl`.
    pub async fn control(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(self.state.join("rabbitmqctl"))
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .output();
        let output = timeout(CONTROL_TIMEOUT, output).await.context("rabbitmqctl hangs")??;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("rabbitmqctl {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// How often an engine has noted something.
    pub fn lines_in_log(&self, log: &str, what: &str) -> usize {
        let log = std::fs::read(self.state.join("log").join(log)).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains(what)).count()
    }

    /// The process in a pid file, if it runs.
    fn pid(&self, file: &str) -> Result<Pid> {
        let text = std::fs::read_to_string(self.state.join(file)).context(file.to_owned())?;
        let pid = text.split_whitespace().next().context("an empty pid file")?.parse()?;
        let pid = Pid::from_raw(pid);
        if !runs(pid) {
            bail!("{file}: {pid} does not run");
        }
        Ok(pid)
    }

    fn start(&self, program: &str, arguments: &[&str], log: &str) -> Result<()> {
        let log = self.state.join("log").join(log);
        let log = std::fs::File::options().append(true).create(true).open(log)?;
        let child = Command::new(self.state.join(program))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us; `./dev` ends the engines.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        // Collected when it ends, or it would stay behind as a zombie that looks alive.
        tokio::spawn(async move {
            let mut child = child;
            child.wait().await.ok();
        });
        Ok(())
    }
}

async fn usable(installation: &Installation) -> Result<()> {
    let amqp = installation.amqp().await?;
    crate::queues::not_empty(&amqp, &crate::queues::transient()).await?;
    amqp.close().await.context("closing")
}

fn runs(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

async fn gone(pid: Pid) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while runs(pid) {
        if Instant::now() > until {
            bail!("process {pid} does not end");
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}
