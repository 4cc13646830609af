//! Requests and their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use holdfast::client::Command;
use rand::Rng;
use uuid::Uuid;

use super::{Figures, Scale};
use crate::load::{Counts, Load, Script, percentile};
use crate::process::{Process, Programs};
use crate::report::Report;
use crate::rig::{Plan, Rig, SERVERS};

/// Requests on their way per terminal: enough for full batches in every partition.
pub const WINDOW: usize = 10;

/// The calendar: 90 days of slots of two hours, so that deadlines share about a thousand instants.
const SLOTS: i64 = 90 * 12;
const SLOT: TimeDelta = TimeDelta::hours(2);

/// Asks for a random slot of a random server.
pub struct Requests {
    pub first_slot: DateTime<Utc>,
    pub servers: usize,
}

impl Requests {
    pub fn over(servers: usize) -> Self {
        // Far enough ahead that nothing is due while it is measured.
        let now = Utc::now().timestamp() / 7_200 * 7_200;
        let first_slot = DateTime::from_timestamp(now, 0).expect("now") + TimeDelta::days(2);
        Self { first_slot, servers }
    }
}

impl Script for Requests {
    fn begin(&self, _terminal: usize) -> Command {
        let mut rng = rand::rng();
        let server = format!("gpu-{}", rng.random_range(0..self.servers));
        let start = self.first_slot + SLOT * rng.random_range(0..(SLOTS - 48)) as i32;
        Command::request(Uuid::new_v4().to_string(), &server, start, start + TimeDelta::hours(1))
    }
}

pub fn done(counts: &Counts) -> u64 {
    counts.done.load(Ordering::Relaxed)
}

/// Work done per second at full load, against a process that is running.
pub async fn full_load(rig: &Rig, script: impl Script, scale: &Scale) -> Result<f64> {
    let load = Load::start(rig.terminals().await?, Arc::new(script), false, true).await?;
    load.fill(WINDOW);
    tokio::time::sleep(scale.warm_up).await;
    let rate = load.rate(scale.measured, done).await;
    let (answers, refused) =
        (load.counts.answers.load(Ordering::Relaxed), load.counts.refused.load(Ordering::Relaxed));
    load.finish().await?;
    if refused * 10 > answers {
        bail!("{refused} of {answers} were refused: that measures something else");
    }
    Ok(rate)
}

fn start_echo(rig: &Rig, programs: &Programs, plan: &Plan) -> Result<Process> {
    let mut environment = rig.environment();
    environment.push(("BENCH_PARTITIONS", plan.partitions.to_string()));
    Process::start(&programs.bench, "echo-worker", &environment)
}

pub async fn echo(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let plan = Plan::default();
    let rig = Rig::set_up(&plan).await?;
    let echo = start_echo(&rig, programs, &plan)?;
    rig.consumed(plan.partitions).await?;
    let rate = full_load(&rig, Requests::over(SERVERS), scale).await?;
    drop(echo);
    rig.tear_down().await?;
    Ok(vec![("echo", rate)])
}

/// Measures a load on one worker.
async fn on_a_worker(
    programs: &Programs,
    scale: &Scale,
    plan: Plan,
    servers: usize,
    settings: &[(&'static str, String)],
) -> Result<f64> {
    let rig = Rig::set_up(&plan).await?;
    let worker = rig.worker(programs, settings)?;
    rig.consumed(plan.partitions).await?;
    let rate = full_load(&rig, Requests::over(servers), scale).await?;
    worker.stop()?;
    rig.tear_down().await?;
    Ok(rate)
}

pub async fn requests(programs: &Programs, scale: &Scale) -> Result<Figures> {
    Ok(vec![("requests", on_a_worker(programs, scale, Plan::default(), SERVERS, &[]).await?)])
}

pub async fn one_by_one(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let settings = [("HOLDFAST_BATCH_MAX", "1".to_owned())];
    Ok(vec![(
        "one by one",
        on_a_worker(programs, scale, Plan::default(), SERVERS, &settings).await?,
    )])
}

pub async fn hot_server(programs: &Programs, scale: &Scale) -> Result<Figures> {
    // The calendar holds more than is asked for, so that the answers are of the same kind.
    let plan = Plan { capacity: 50, ..Plan::default() };
    Ok(vec![("hot server", on_a_worker(programs, scale, plan, 1, &[]).await?)])
}

/// Answer times at half of what was measured as the full load.
pub async fn latency(programs: &Programs, scale: &Scale, report: &Report) -> Result<Figures> {
    let rate = report.median("requests").unwrap_or(3_000.0) / 2.0;
    let plan = Plan::default();
    let mut figures = Vec::new();
    for (echoed, names) in
        [(true, ["echo p50 ms", "echo p99 ms"]), (false, ["latency p50 ms", "latency p99 ms"])]
    {
        let rig = Rig::set_up(&plan).await?;
        let process = match echoed {
            true => start_echo(&rig, programs, &plan)?,
            false => rig.worker(programs, &[])?,
        };
        rig.consumed(plan.partitions).await?;
        let script = Arc::new(Requests::over(SERVERS));
        let load = Load::start(rig.terminals().await?, script, true, false).await?;
        load.at_rate(rate, scale.warm_up).await;
        load.forget_latencies();
        load.at_rate(rate, scale.measured).await;
        let latencies = load.finish().await?;
        for (name, part) in names.into_iter().zip([0.50, 0.99]) {
            figures.push((name, percentile(&latencies, part).as_secs_f64() * 1_000.0));
        }
        drop(process);
        rig.tear_down().await?;
    }
    Ok(figures)
}

/// A worker's memory at full load, and its processor time when idle.
pub async fn memory(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let plan = Plan::default();
    let rig = Rig::set_up(&plan).await?;
    let worker = rig.worker(programs, &[])?;
    rig.consumed(plan.partitions).await?;
    let script = Arc::new(Requests::over(SERVERS));
    let load = Load::start(rig.terminals().await?, script, false, true).await?;
    load.fill(WINDOW);
    let mut samples = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(scale.memory / 10).await;
        samples.push(worker.memory_mib()?);
    }
    load.finish().await?;
    let before = worker.cpu_seconds()?;
    let idle = Duration::from_secs(20);
    tokio::time::sleep(idle).await;
    let busy = worker.cpu_seconds()? - before;
    worker.stop()?;
    rig.tear_down().await?;
    let peak = samples.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        ("memory MiB", peak),
        ("memory growth MiB", samples[9] - samples[1]),
        ("idle % of a core", busy / idle.as_secs_f64() * 100.0),
    ])
}
