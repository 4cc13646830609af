//! Kills an engine at full load for half a minute, first the database, then the broker. Measures
//! how long after its return rate and answer times are as before.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::requests::{Requests, WINDOW};
use super::{Bench, Findings};
use crate::engines::{Engine, Engines};
use crate::patient::{Answers, Pace, Patient};
use crate::rig::{Plan, Rig, SERVERS};

/// How long an engine is away.
const OUTAGE: Duration = Duration::from_secs(30);

/// Length of the periods that are compared: long enough to even out noise.
const WINDOW_JUDGED: Duration = Duration::from_secs(5);

/// What counts as good as before.
const PART: f64 = 0.9;

const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Longest wait, which is reported if recovery takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn recovery(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let Some(engines) = Engines::find() else {
        findings.notes.push("recovery: not measured, since the engines are yours".to_owned());
        return Ok(findings);
    };
    let mut rig = Rig::set_up(&bench.site, Plan::default()).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let script = Arc::new(Requests::over(SERVERS));
    let load = Patient::start(rig.endpoints()?, script, WINDOW);
    sleep(bench.scale.warm_up).await;
    let names = [(Engine::Database, "database back s"), (Engine::Broker, "broker back s")];
    for (engine, name) in names {
        let began = Instant::now();
        sleep(bench.scale.measured.max(WINDOW_JUDGED)).await;
        let before = load.answers.pace(began, began.elapsed());
        let (away, back) = outage(&engines, engine, &mut rig).await?;
        let took = recovered(&load.answers, before, back).await;
        findings.figures.push((name, took.unwrap_or(PATIENCE).as_secs_f64()));
        findings.notes.push(format!(
            "recovery: {engine:?} away for {:.1} s; before: {:.0}/s, median {:.0} ms{}",
            away.as_secs_f64(),
            before.rate,
            before.p50.as_secs_f64() * 1_000.0,
            if took.is_none() { "; not as before when waiting was given up" } else { "" }
        ));
        findings.notes.push(course(&load.answers, back));
    }
    load.finish().await?;
    worker.stop()?;
    rig.tear_down().await?;
    Ok(findings)
}

/// How long it was away, and when it returned.
async fn outage(
    engines: &Engines,
    engine: Engine,
    rig: &mut Rig<'_>,
) -> Result<(Duration, Instant)> {
    let began = Instant::now();
    engines.stop(engine).await?;
    sleep(OUTAGE).await;
    match engine {
        Engine::Database => engines.start(engine, async || rig.try_database().await).await?,
        Engine::Broker => engines.start(engine, async || rig.try_broker().await).await?,
    }
    let back = Instant::now();
    rig.connect_again().await?;
    Ok((back - began, back))
}

/// The begin of the first period whose rate and answer time are as good as before.
async fn recovered(answers: &Answers, before: Pace, back: Instant) -> Option<Duration> {
    let mut from = back;
    while from < back + PATIENCE {
        tokio::time::sleep_until(from + WINDOW_JUDGED).await;
        let now = answers.pace(from, WINDOW_JUDGED);
        if now.rate >= before.rate * PART && now.p50 <= before.p50.div_f64(PART) {
            return Some(from - back);
        }
        from += LOOK_INTERVAL;
    }
    None
}

/// The rate in each of the first seconds, for people.
fn course(answers: &Answers, back: Instant) -> String {
    let second = Duration::from_secs(1);
    let passed = back.elapsed().as_secs().min(10);
    let rates = (0..u32::try_from(passed).unwrap_or(10))
        .map(|n| format!("{:.0}", answers.pace(back + second * n, second).rate));
    let rates: Vec<String> = rates.collect();
    format!("recovery: answers second by second: {}", rates.join(", "))
}
