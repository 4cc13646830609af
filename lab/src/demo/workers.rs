//! Workers: processes of the program under test.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use holdfast_lab::ports;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::timeline::Timeline;
use crate::wait::{self, PATIENCE};

/// Lines of each log that are shown after a failure.
const LOG_TAIL: usize = 15;

struct Worker {
    name: String,
    child: Child,
    /// Where it answers `/ready`.
    listens: String,
}

/// All workers. Dropping it kills those that still run.
pub struct Workers {
    binary: PathBuf,
    /// Directory for logs and pid files.
    dir: PathBuf,
    timeline: Arc<Timeline>,
    running: Vec<Worker>,
    started: usize,
}

impl Worker {
    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are small")
    }
}

impl Workers {
    pub fn new(binary: PathBuf, dir: PathBuf, timeline: Arc<Timeline>) -> Self {
        Self { binary, dir, timeline, running: Vec::new(), started: 0 }
    }

    /// Starts one more, with our own environment.
    pub fn start(&mut self) -> Result<()> {
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let log = self.dir.join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        // Several workers, each with its own.
        let listen = format!("127.0.0.1:{}", ports::free(1)?[0]);
        let child = Command::new(&self.binary)
            .arg("worker")
            .env("HOLDFAST_HTTP_LISTEN", &listen)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A group of its own: Ctrl-C reaches only the demonstration, which then ends its
            // workers.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        self.timeline.did(&name, &format!("starts, process {}, http://{listen}/ready", child.id()));
        self.running.push(Worker { name, child, listens: listen });
        Ok(())
    }

    pub fn pids(&self) -> Vec<i32> {
        self.running.iter().map(Worker::pid).collect()
    }

    /// What runs, for people.
    pub fn described(&self) -> Vec<String> {
        let one = |worker: &Worker| {
            let Worker { name, listens, .. } = worker;
            let log = self.dir.join(format!("{name}.log"));
            format!("{name}, process {}, http://{listens}/ready, {}", worker.pid(), log.display())
        };
        self.running.iter().map(one).collect()
    }

    /// Where they answer `/ready`.
    pub fn addresses(&self) -> Vec<&str> {
        self.running.iter().map(|worker| worker.listens.as_str()).collect()
    }

    pub fn name_of(&self, pid: i32) -> Option<&str> {
        self.running.iter().find(|worker| worker.pid() == pid).map(|worker| worker.name.as_str())
    }

    /// Fails if a worker has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        for worker in &mut self.running {
            if let Some(status) = worker.child.try_wait()? {
                bail!("{} has ended: {status}", worker.name);
            }
        }
        Ok(())
    }

    /// Kills one at once, like a power failure.
    pub fn kill(&mut self, pid: i32) -> Result<()> {
        let place = self.running.iter().position(|worker| worker.pid() == pid);
        let mut worker = self.running.remove(place.context("no worker of ours")?);
        worker.child.kill()?;
        worker.child.wait()?;
        Ok(())
    }

    /// Stops all workers gracefully.
    pub async fn stop_all(&mut self) -> Result<()> {
        for worker in &self.running {
            kill(Pid::from_raw(worker.pid()), Signal::SIGTERM).context("SIGTERM")?;
        }
        while let Some(worker) = self.running.first_mut() {
            let child = &mut worker.child;
            let ended = async || Ok(child.try_wait()?);
            let status = wait::found(&format!("{} stops", worker.name), PATIENCE, ended).await?;
            let name = self.running.remove(0).name;
            self.timeline.did(&name, "has stopped");
            self.timeline.check(&format!("{name} ended in order"), status.code(), Some(0));
        }
        Ok(())
    }

    /// Leaves them running when the demonstration ends, each with a pid file.
    pub fn leave_running(&mut self) {
        for worker in std::mem::take(&mut self.running) {
            let path = self.dir.join(format!("{}.pid", worker.name));
            if let Err(error) = std::fs::write(&path, format!("{}\n", worker.pid())) {
                eprintln!("error: writing {}: {error}", path.display());
            }
        }
    }

    /// The end of every log, to diagnose a failure.
    pub fn print_logs(&self) {
        for number in 1..=self.started {
            let path = self.dir.join(format!("worker-{number}.log"));
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- end of {}", path.display());
            for line in &lines[lines.len().saturating_sub(LOG_TAIL)..] {
                eprintln!("{line}");
            }
        }
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
