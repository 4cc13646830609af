//! Workers: real processes of the real binary.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// Twice the drain grace, as whoever runs workers is told to give them.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

struct Worker {
    name: String,
    child: Child,
}

/// All workers. Those that still run are killed when this is dropped.
pub struct Workers {
    program: PathBuf,
    /// For logs.
    dir: PathBuf,
    environment: Vec<(&'static str, String)>,
    running: Vec<Worker>,
    started: usize,
}

impl Workers {
    pub fn new(program: PathBuf, dir: PathBuf, environment: Vec<(&'static str, String)>) -> Self {
        Self { program, dir, environment, running: Vec::new(), started: 0 }
    }

    pub fn start(&mut self) -> Result<()> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let log = self.dir.join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = Command::new(&self.program)
            .arg("worker")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for the soak, which then ends its workers itself.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.running.push(Worker { name, child });
        Ok(())
    }

    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Fails if one has ended that nobody told to.
    pub fn check_alive(&mut self) -> Result<()> {
        for worker in &mut self.running {
            if let Some(status) = worker.child.try_wait()? {
                bail!("{} has ended by itself: {status}", worker.name);
            }
        }
        Ok(())
    }

    /// Kills one on the spot, as a power failure would.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let mut worker = self.running.remove(index);
        worker.child.kill()?;
        worker.child.wait()?;
        Ok(())
    }

    /// Tells one to stop, and does not wait until it has.
    pub fn tell_to_stop(&self, index: usize) -> Result<()> {
        let pid = i32::try_from(self.running[index].child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("SIGTERM")
    }

    /// Stops one, which finishes what it has in hand.
    pub async fn stop(&mut self, index: usize) -> Result<()> {
        self.tell_to_stop(index)?;
        let mut worker = self.running.remove(index);
        let until = Instant::now() + STOPS_WITHIN;
        loop {
            match worker.child.try_wait()? {
                Some(status) => return in_order(&worker.name, status),
                None if Instant::now() > until => {
                    worker.child.kill()?;
                    worker.child.wait()?;
                    bail!("{} did not stop within {} s", worker.name, STOPS_WITHIN.as_secs());
                }
                None => sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

fn in_order(name: &str, status: ExitStatus) -> Result<()> {
    match status.success() {
        true => Ok(()),
        false => bail!("{name} was told to stop and ended with {status}"),
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.running {
            worker.child.kill().ok();
            worker.child.wait().ok();
        }
    }
}
