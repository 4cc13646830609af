//! Processor time of workers, engines and ourselves, from `/proc`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// Ticks per second on every Linux.
const TICKS: f64 = 100.0;

/// Processor seconds so far. For engines that `./dev` did not start, they are unknown.
#[derive(Clone, Copy)]
struct Spent {
    broker: Option<f64>,
    database: Option<f64>,
    workers: f64,
    load: f64,
}

/// Processor time for each unit of work, in microseconds, and the load of the processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub broker: Option<f64>,
    pub database: Option<f64>,
    pub workers: f64,
    pub load: f64,
    /// Per cent of all processors.
    pub busy: f64,
}

/// Measures from its start to its end.
pub struct Meter {
    began: Instant,
    before: Spent,
}

impl Meter {
    pub fn start() -> Result<Self> {
        Ok(Self { began: Instant::now(), before: spent()? })
    }

    /// The cost of each of `count` units of work.
    pub fn stop(&self, pieces: f64) -> Result<Cost> {
        let (after, before) = (spent()?, self.before);
        let each = |seconds: f64| seconds * 1e6 / pieces.max(1.0);
        let between = |after: Option<f64>, before: Option<f64>| Some(each(after? - before?));
        let mut cost = Cost {
            broker: between(after.broker, before.broker),
            database: between(after.database, before.database),
            workers: each(after.workers - before.workers),
            load: each(after.load - before.load),
            busy: 0.0,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let there_was = self.began.elapsed().as_secs_f64() * cores;
        cost.busy = cost.sum() * pieces / 1e6 / there_was * 100.0;
        Ok(cost)
    }
}

impl Cost {
    pub fn sum(&self) -> f64 {
        self.broker.unwrap_or(0.0) + self.database.unwrap_or(0.0) + self.workers + self.load
    }
}

/// A process in `/proc`.
struct Entry {
    parent: u32,
    own: f64,
    /// Time of children that have ended.
    ended: f64,
}

fn spent() -> Result<Spent> {
    let processes = processes()?;
    let ours = processes.get(&std::process::id()).context("our own process")?;
    let engines = [engine("rabbitmq/pid"), engine("pgdata/postmaster.pid")];
    // An engine that a scenario restarted is our child but no worker.
    let all = tree(&processes, std::process::id(), &engines.map(|pid| pid.unwrap_or(0)));
    let [broker, database] = engines.map(|pid| Some(tree(&processes, pid?, &[])));
    Ok(Spent { broker, database, workers: all - ours.own, load: ours.own })
}

/// The process of an engine that `./dev` started.
fn engine(pid_file: &str) -> Option<u32> {
    let state = PathBuf::from(std::env::var_os("HOLDFAST_DEV_STATE")?);
    let text = std::fs::read_to_string(state.join(pid_file)).ok()?;
    text.lines().next()?.trim().parse().ok()
}

fn processes() -> Result<HashMap<u32, Entry>> {
    let pids = std::fs::read_dir("/proc")?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    // Any process may end meanwhile.
    Ok(pids.filter_map(|pid| Some((pid, entry(pid)?))).collect())
}

fn entry(pid: u32) -> Option<Entry> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Parse after the name, which may contain spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Entry {
        parent: fields.get(1)?.parse().ok()?,
        own: (ticks(11)? + ticks(12)?) / TICKS,
        ended: (ticks(13)? + ticks(14)?) / TICKS,
    })
}

/// Processor seconds of a process and its descendants, ended ones included, except the processes
/// `without` and their descendants.
fn tree(processes: &HashMap<u32, Entry>, root: u32, without: &[u32]) -> f64 {
    let below = |pid: u32| {
        let mut at = pid;
        loop {
            if without.contains(&at) {
                return false;
            }
            if at == root {
                return true;
            }
            match processes.get(&at) {
                Some(entry) if entry.parent != 0 => at = entry.parent,
                _ => return false,
            }
        }
    };
    let members = processes.iter().filter(|(pid, _)| below(**pid));
    members.map(|(_, entry)| entry.own + entry.ended).sum()
}
