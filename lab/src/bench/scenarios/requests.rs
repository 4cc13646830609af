//! Requests and their answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use holdfast::client::Command;
use rand::Rng;
use uuid::Uuid;

use super::{Bench, Findings};
use crate::cost::{Cost, Meter};
use crate::load::{Counts, Load, Script, percentile};
use crate::process::Process;
use crate::report::Report;
use crate::rig::{Plan, Rig, SERVERS};
use crate::statements::Statement;

/// Unanswered requests of each terminal: enough for full batches in every partition.
pub const WINDOW: usize = 80;

/// The calendar: 90 days of slots of two hours, so that there are about a thousand different
/// deadlines.
const SLOTS: i32 = 88 * 12;
const SLOT: TimeDelta = TimeDelta::hours(2);

/// Requests a random slot of a random server.
pub struct Requests {
    pub first_slot: DateTime<Utc>,
    pub servers: usize,
}

impl Requests {
    pub fn over(servers: usize) -> Self {
        // Far enough ahead that no deadline passes during the measurement.
        let now = Utc::now().timestamp() / 7_200 * 7_200;
        let first_slot = DateTime::from_timestamp(now, 0).expect("now") + TimeDelta::days(2);
        Self { first_slot, servers }
    }
}

impl Script for Requests {
    fn begin(&self, _terminal: usize) -> Command {
        let mut rng = rand::rng();
        let server = format!("gpu-{}", rng.random_range(0..self.servers));
        // The last slots would end beyond the servers' horizon.
        let mut start = self.first_slot + SLOT * rng.random_range(0..SLOTS - 12);
        if self.servers == 1 {
            // Twice as many places: otherwise a single server's calendar is full too early.
            start += TimeDelta::hours(rng.random_range(0..2));
        }
        Command::request(Uuid::new_v4().to_string(), &server, start, start + TimeDelta::hours(1))
    }
}

pub fn done(counts: &Counts) -> u64 {
    counts.done.load(Ordering::Relaxed)
}

/// Figures of a full load.
pub struct FullLoad {
    pub rate: f64,
    pub cost: Cost,
    answer_bytes: f64,
    pub statements: Vec<Statement>,
}

/// Measures the work done per second at full load by a running process.
pub async fn full_load(bench: &Bench, rig: &Rig<'_>, script: impl Script) -> Result<FullLoad> {
    let load = Load::start(rig.terminals().await?, Arc::new(script), false, true);
    // The same number of unanswered commands, however many terminals there are.
    load.fill(WINDOW * Plan::default().terminals / rig.plan.terminals);
    tokio::time::sleep(bench.scale.warm_up).await;
    bench.begin_profile(rig).await?;
    let (meter, before) = (Meter::start()?, done(&load.counts));
    let rate = load.rate(bench.scale.measured, done).await;
    let cost = meter.stop((done(&load.counts) - before) as f64)?;
    let statements = bench.end_profile(rig).await?;
    let counts = load.counts.clone();
    load.finish().await?;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (answers, refused) = (count(&counts.answers), count(&counts.refused));
    if refused * 10 > answers {
        bail!("{refused} of {answers} were refused: that measures something else");
    }
    let answer_bytes = count(&counts.answer_bytes) as f64 / answers as f64;
    Ok(FullLoad { rate, cost, answer_bytes, statements })
}

impl FullLoad {
    fn findings(self, name: &'static str) -> Findings {
        Findings {
            figures: vec![(name, self.rate)],
            costs: vec![(name, self.cost)],
            notes: vec![format!("{name}: answers of {:.0} bytes on average", self.answer_bytes)],
            statements: self.statements,
        }
    }
}

fn start_echo(bench: &Bench, rig: &Rig<'_>) -> Result<Process> {
    let mut environment = rig.environment();
    environment.push(("BENCH_PARTITIONS", rig.plan.partitions.to_string()));
    Process::start(&bench.programs.bench, "echo-worker", &environment)
}

pub async fn echo(bench: &Bench) -> Result<Findings> {
    let rig = Rig::set_up(&bench.site, Plan::default()).await?;
    let echo = start_echo(bench, &rig)?;
    rig.consumed().await?;
    let measured = full_load(bench, &rig, Requests::over(SERVERS)).await?;
    drop(echo);
    rig.tear_down().await?;
    Ok(measured.findings("echo"))
}

/// Measures requests on one worker.
async fn on_a_worker(
    bench: &Bench,
    name: &'static str,
    plan: Plan,
    servers: usize,
    settings: &[(&'static str, String)],
) -> Result<Findings> {
    let plan = Plan { count_statements: bench.profile, ..plan };
    let rig = Rig::set_up(&bench.site, plan).await?;
    let worker = rig.worker(&bench.programs, settings)?;
    rig.consumed().await?;
    let measured = full_load(bench, &rig, Requests::over(servers)).await?;
    worker.stop()?;
    rig.tear_down().await?;
    Ok(measured.findings(name))
}

pub async fn requests(bench: &Bench) -> Result<Findings> {
    on_a_worker(bench, "requests", Plan::default(), SERVERS, &[]).await
}

pub async fn one_by_one(bench: &Bench) -> Result<Findings> {
    let settings = [("HOLDFAST_BATCH_MAX", "1".to_owned())];
    on_a_worker(bench, "one by one", Plan::default(), SERVERS, &settings).await
}

pub async fn hot_server(bench: &Bench) -> Result<Findings> {
    let plan = Plan { capacity: 50, ..Plan::default() };
    on_a_worker(bench, "hot server", plan, 1, &[]).await
}

/// Measures answer times at half of the full load.
pub async fn latency(bench: &Bench, report: &Report) -> Result<Findings> {
    let known = report.median("requests");
    let rate = known.unwrap_or(3_000.0) / 2.0;
    let mut findings = Findings::default();
    findings.notes.push(format!("latency: measured at {rate:.0} requests a second"));
    for (echoed, names) in
        [(true, ["echo p50 ms", "echo p99 ms"]), (false, ["latency p50 ms", "latency p99 ms"])]
    {
        let rig = Rig::set_up(&bench.site, Plan::default()).await?;
        let process = match echoed {
            true => start_echo(bench, &rig)?,
            false => rig.worker(&bench.programs, &[])?,
        };
        rig.consumed().await?;
        let script = Arc::new(Requests::over(SERVERS));
        let load = Load::start(rig.terminals().await?, script, true, false);
        load.at_rate(rate, bench.scale.warm_up).await;
        load.forget_latencies();
        let meter = Meter::start()?;
        load.at_rate(rate, bench.scale.measured).await;
        let cost = meter.stop(rate * bench.scale.measured.as_secs_f64())?;
        findings.costs.push((if echoed { "echo at half load" } else { "half load" }, cost));
        let latencies = load.finish().await?;
        for (name, part) in names.into_iter().zip([0.50, 0.99]) {
            findings.figures.push((name, percentile(&latencies, part).as_secs_f64() * 1_000.0));
        }
        match echoed {
            true => drop(process),
            false => process.stop()?,
        }
        rig.tear_down().await?;
    }
    Ok(findings)
}
