//! Stops, kills, freezes and restarts the private engines.
//!
//! `./dev` leaves the programs that start them in its state directory. Processes started by these
//! inherit the variable by which `./dev` finds and ends them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::installation::Installation;

/// Bound on stopping an engine, and on starting it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bound on a run of `rabbitmqctl`, which starts a virtual machine.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause before a server that did not come up is started again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Where the system keeps the rules of time zones.
const ZONEINFO: &str = "/usr/share/zoneinfo";

/// Directory of the engines' logs.
pub const BROKER_LOG: &str = "rabbitmq.log";
pub const DATABASE_LOG: &str = "postgres.log";

pub struct Engines {
    state: PathBuf,
}

impl Engines {
    /// The engines that `./dev` has started. `None` if the caller brought other ones.
    pub fn find() -> Option<Self> {
        let state = PathBuf::from(std::env::var_os("HOLDFAST_DEV_STATE")?);
        state.join("postgres").is_file().then_some(Self { state })
    }

    /// Sends a signal to the database's first process. INT stops it fast, QUIT immediately.
    pub async fn stop_database(&self, signal: Signal) -> Result<()> {
        let pid = self.pid("pgdata/postmaster.pid")?;
        kill(pid, signal).context("signalling the database")?;
        gone(pid).await
    }

    pub async fn start_database(&self, installation: &Installation) -> Result<()> {
        self.await_database(installation, Instant::now()).await
    }

    /// Waits until the database is up. Starts it if it does not run at `next_try` or later.
    async fn await_database(
        &self,
        installation: &Installation,
        mut next_try: Instant,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        // For a moment, orphans of a killed server prevent the next one from starting.
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

    /// Starts the database anew with a clock that [`set_clock`](Self::set_clock) can change.
    pub async fn restart_database_with_clock(&self, installation: &Installation) -> Result<()> {
        std::env::var("HOLDFAST_FAKETIME").context("there is no libfaketime")?;
        self.set_clock("+0")?;
        self.stop_database(Signal::SIGINT).await?;
        self.start("postgres-with-clock", &[], DATABASE_LOG)?;
        self.await_database(installation, Instant::now() + RETRY_AFTER).await
    }

    /// Sets the clock of a running database that was started for it. It follows within a second.
    pub fn set_clock(&self, offset: &str) -> Result<()> {
        // Renaming makes the change atomic.
        let new = self.clock_file().with_extension("new");
        std::fs::write(&new, offset)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o644))?;
        std::fs::rename(&new, self.clock_file()).context("the clock's file")
    }

    /// Restarts the database, whose locale then has other rules under the same name.
    pub async fn change_locale(&self, installation: &Installation) -> Result<()> {
        let link = self.state.join("locale");
        let rules = std::fs::read_link(&link).context("there is no locale of our own")?;
        let other = if rules.ends_with("old") { "locales/new" } else { "locales/old" };
        self.stop_database(Signal::SIGINT).await?;
        let new = link.with_extension("new");
        std::os::unix::fs::symlink(other, &new)?;
        std::fs::rename(&new, &link).context("the locale")?;
        self.start_database(installation).await
    }

    /// Whether the database reads zone rules that can be changed: its own, mounted over the system's.
    pub fn has_zones(&self) -> bool {
        self.state.join("zoneinfo").is_dir()
    }

    /// Gives a zone the rules that the system has for one. Sessions that have read its rules keep those.
    pub fn give_zone_rules_of(&self, zone: &str, of: &str) -> Result<()> {
        let (own, new) = (self.state.join("zoneinfo"), self.state.join("zone.new"));
        std::fs::copy(Path::new(ZONEINFO).join(of), &new).with_context(|| format!("zone {of}"))?;
        std::fs::rename(&new, own.join(zone)).with_context(|| format!("zone {zone}"))
    }

    /// Whether the running database was started with a clock that can be changed.
    pub fn has_clock(&self) -> bool {
        let maps = self.pid("pgdata/postmaster.pid").map(|pid| format!("/proc/{pid}/maps"));
        let maps = maps.and_then(|path| Ok(std::fs::read_to_string(path)?)).unwrap_or_default();
        maps.contains("libfaketime")
    }

    fn clock_file(&self) -> PathBuf {
        self.state.join("clock")
    }

    /// Starts a standby of the database server at port `of`, and returns the standby's port.
    pub async fn start_standby(&self, of: u16) -> Result<u16> {
        // The system does not hand out a port again soon after it was free.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let dir = self.state.join(format!("standby-{port}"));
        let dir = dir.to_str().context("a path in UTF-8")?;
        self.start("standby", &[dir, &of.to_string(), &port.to_string()], "standby.log")?;
        Ok(port)
    }

    /// Stops and removes all former standbys except the one at `port`: each takes disk space.
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

    /// Kills one of the database's sessions, upon which the database ends all others and recovers.
    /// Returns whether there was one.
    pub fn kill_backend(&self, pid: i32) -> bool {
        kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
    }

    /// A file with which to fill the database's disk. `None` if the database has no disk of its
    /// own.
    pub fn ballast(&self) -> Option<PathBuf> {
        let dir = self.state.join("pgdata");
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let own = mounts.lines().any(|line| line.split(' ').nth(1) == dir.to_str());
        own.then(|| dir.join("ballast"))
    }

    /// Suspends or resumes all of the database's processes.
    pub fn signal_database(&self, signal: Signal) -> Result<()> {
        let first = self.pid("pgdata/postmaster.pid")?;
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).context("the database's processes")?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in children.map(Pid::from_raw).chain([first]) {
            // A process may have ended meanwhile.
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

    /// Waits until the broker accepts connections to our vhost and all of its queues have a leader.
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

    /// How many lines of an engine's log contain a text.
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
            // A group of its own: Ctrl-C is for us, and `./dev` ends the engines.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        // Wait for it when it ends: a zombie would look alive.
        tokio::spawn(async move {
            let mut child = child;
            child.wait().await.ok();
        });
        Ok(())
    }
}

async fn usable(installation: &Installation) -> Result<()> {
    let names = crate::queues::transient(installation.shape().await?);
    let amqp = installation.amqp().await?;
    crate::queues::not_empty(&amqp, &names).await?;
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
