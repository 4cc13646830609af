//! Workers: processes of the program under test.

use std::fs::File;
use std::io::PipeReader;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

/// Twice the drain grace: what the README tells operators to allow.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Variables of a worker's environment.
pub type Environment = Vec<(&'static str, String)>;

/// Where a worker's log goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogTo {
    /// A file of its own.
    #[default]
    File,
    /// A disk without room.
    FullDisk,
    /// A pipe that nobody reads any more.
    ClosedPipe,
    /// A pipe whose reader does not read.
    StalledPipe,
}

/// What is different about a worker.
#[derive(Clone, Default)]
pub struct Variation {
    /// Further variables. An empty one counts as unset.
    pub variables: Environment,
    pub log: LogTo,
}

struct Worker {
    name: String,
    /// Index of its environment.
    slot: usize,
    frozen: bool,
    child: Child,
    /// The end of its log that nobody reads.
    _unread: Option<PipeReader>,
}

/// All workers. Dropping it kills those that still run.
pub struct Workers {
    /// The worker at each place.
    programs: Vec<PathBuf>,
    /// Directory for logs.
    dir: PathBuf,
    /// The environment of each place, which has its own addresses of the engines.
    environments: Vec<Environment>,
    /// A place, and what is different there.
    varied: Option<(usize, Variation)>,
    running: Vec<Worker>,
    started: usize,
}

impl Workers {
    /// Assigns the programs to the places in turn.
    pub fn new(programs: Vec<PathBuf>, dir: PathBuf, environments: Vec<Environment>) -> Self {
        let programs = programs.into_iter().cycle().take(environments.len()).collect();
        Self { programs, dir, environments, varied: None, running: Vec::new(), started: 0 }
    }

    /// The number of places.
    pub fn places(&self) -> usize {
        self.environments.len()
    }

    /// Workers that start at a place from now on run this program.
    pub fn assign(&mut self, place: usize, program: PathBuf) {
        self.programs[place] = program;
    }

    /// Process id and program of each running worker.
    pub fn running(&self) -> impl Iterator<Item = (u32, &Path)> {
        let program = |worker: &Worker| self.programs[worker.slot].as_path();
        self.running.iter().map(move |worker| (worker.child.id(), program(worker)))
    }

    /// The index, for the other methods, of the worker at a place.
    pub fn at(&self, place: usize) -> Option<usize> {
        self.running.iter().position(|worker| worker.slot == place)
    }

    pub fn start(&mut self) -> Result<()> {
        let taken = |slot: &usize| self.running.iter().any(|worker| worker.slot == *slot);
        let slot = (0..self.environments.len()).find(|slot| !taken(slot));
        let slot = slot.context("no place for another worker")?;
        self.started += 1;
        let name = format!("worker-{}", self.started);
        let (log, unread) = self.log(slot, &name)?;
        let program = &self.programs[slot];
        let child = Command::new(program)
            .arg("worker")
            .envs(self.environment(slot))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A group of its own: Ctrl-C reaches only the soak, which then ends its workers.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        self.running.push(Worker { name, slot, frozen: false, child, _unread: unread });
        Ok(())
    }

    /// Where the log of a new worker goes, and the end of it that must stay open.
    fn log(&self, slot: usize, name: &str) -> Result<(Stdio, Option<PipeReader>)> {
        Ok(match self.variation(slot).log {
            LogTo::File => {
                let log = self.dir.join(format!("{name}.log"));
                let file = File::create(&log);
                (file.with_context(|| format!("creating {}", log.display()))?.into(), None)
            }
            LogTo::FullDisk => (File::options().write(true).open("/dev/full")?.into(), None),
            LogTo::ClosedPipe => (std::io::pipe()?.1.into(), None),
            LogTo::StalledPipe => {
                let (reader, writer) = std::io::pipe()?;
                (writer.into(), Some(reader))
            }
        })
    }

    fn variation(&self, slot: usize) -> Variation {
        let varied = self.varied.clone().filter(|(place, _)| *place == slot);
        varied.map(|(_, variation)| variation).unwrap_or_default()
    }

    /// The variables with which a worker starts at a place.
    pub fn environment(&self, slot: usize) -> impl Iterator<Item = (&'static str, String)> {
        self.environments[slot].clone().into_iter().chain(self.variation(slot).variables)
    }

    /// Workers that start at a place from now on differ like this.
    pub fn vary(&mut self, place: usize, variation: Variation) {
        self.varied = Some((place, variation));
    }

    /// Changes a variable of all workers that start from now on.
    pub fn change(
        &mut self,
        variable: &str,
        change: impl Fn(&str) -> Result<String>,
    ) -> Result<()> {
        for (name, value) in self.environments.iter_mut().flatten() {
            if *name == variable {
                *value = change(value)?;
            }
        }
        Ok(())
    }

    /// The process at a place, if one runs.
    pub fn process(&self, place: usize) -> Option<u32> {
        self.at(place).map(|index| self.running[index].child.id())
    }

    /// Kills the worker at a place, if one runs.
    pub fn kill_in_place(&mut self, place: usize) -> Result<()> {
        let index = self.running.iter().position(|worker| worker.slot == place);
        index.map_or(Ok(()), |index| self.kill(index))
    }

    pub fn name_in_place(&self, place: usize) -> Option<String> {
        let worker = self.running.iter().find(|worker| worker.slot == place);
        worker.map(|worker| worker.name.clone())
    }

    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Fails if a worker has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        for worker in &mut self.running {
            if let Some(status) = worker.child.try_wait()? {
                bail!("{} has ended by itself: {status}", worker.name);
            }
        }
        Ok(())
    }

    /// Removes workers that have ended by themselves, and returns how they ended.
    pub fn take_ended(&mut self) -> Result<Vec<(String, ExitStatus)>> {
        let mut ended = Vec::new();
        for index in (0..self.running.len()).rev() {
            if let Some(status) = self.running[index].child.try_wait()? {
                ended.push((self.running.remove(index).name, status));
            }
        }
        Ok(ended)
    }

    /// Suspends it. It keeps its connections and its unacknowledged messages.
    pub fn freeze(&mut self, index: usize) -> Result<String> {
        self.signal(index, Signal::SIGSTOP)?;
        self.running[index].frozen = true;
        Ok(self.running[index].name.clone())
    }

    /// Resumes all suspended workers.
    pub fn thaw(&mut self) -> Result<()> {
        for index in 0..self.running.len() {
            if std::mem::take(&mut self.running[index].frozen) {
                self.signal(index, Signal::SIGCONT)?;
            }
        }
        Ok(())
    }

    fn signal(&self, index: usize, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.running[index].child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| signal.to_string())
    }

    /// Resident memory in kilobytes and number of open files of each.
    pub fn sizes(&self) -> Vec<(String, usize, usize)> {
        self.running.iter().filter_map(size).collect()
    }

    /// Kills one at once, like a power failure.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        let mut worker = self.running.remove(index);
        worker.child.kill()?;
        worker.child.wait()?;
        Ok(())
    }

    /// Asks one to stop and does not wait for it.
    pub fn tell_to_stop(&self, index: usize) -> Result<()> {
        self.signal(index, Signal::SIGTERM)
    }

    /// Stops one gracefully. Returns how long that took.
    pub async fn stop(&mut self, index: usize) -> Result<Duration> {
        let began = Instant::now();
        self.tell_to_stop(index)?;
        let mut worker = self.running.remove(index);
        let until = Instant::now() + STOPS_WITHIN;
        loop {
            match worker.child.try_wait()? {
                Some(status) => return in_order(&worker.name, status).map(|()| began.elapsed()),
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

fn size(worker: &Worker) -> Option<(String, usize, usize)> {
    let dir = PathBuf::from(format!("/proc/{}", worker.child.id()));
    let status = std::fs::read_to_string(dir.join("status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident = resident.split_whitespace().next()?.parse().ok()?;
    let files = std::fs::read_dir(dir.join("fd")).ok()?.count();
    Some((worker.name.clone(), resident, files))
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
