//! Processes that are measured.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use holdfast_lab::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The programs that are measured.
pub struct Programs {
    pub holdfast: PathBuf,
    /// This program, which also runs the echo.
    pub bench: PathBuf,
}

impl Programs {
    pub fn find() -> Result<Self> {
        let bench = std::env::current_exe().context("the path of the running program")?;
        Ok(Self { holdfast: program::beside_ourselves()?, bench })
    }
}

/// A process, killed when dropped.
pub struct Process(Child);

impl Process {
    pub fn start(
        program: &PathBuf,
        argument: &str,
        environment: &[(&str, String)],
    ) -> Result<Self> {
        let child = Command::new(program)
            .arg(argument)
            .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
            .env("RUST_LOG", "warn,lapin=off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self(child))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Resident memory now, in MiB.
    pub fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("VmRSS")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// Processor time so far, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let rest = stat.rsplit_once(')').context("stat")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        // A hundred ticks per second on every Linux.
        Ok(ticks / 100.0)
    }

    /// Stops it gracefully.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        let status = self.0.wait()?;
        if !status.success() {
            bail!("a worker ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
