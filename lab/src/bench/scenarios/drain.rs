//! Stops workers one after the other, each with full batches in process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::requests::{Requests, WINDOW, done};
use super::{Bench, Findings};
use crate::load::{Load, percentile};
use crate::process::Process;
use crate::rig::{Plan, Rig, SERVERS};

/// Number of workers at once.
const WORKERS: usize = 2;

/// Work that is done after a worker has begun and before the next one stops: several full batches.
const BETWEEN: u64 = 4_000;

/// Bound on a worker getting partitions and doing that work.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn drain(bench: &Bench) -> Result<Findings> {
    let rig = Rig::set_up(&bench.site, Plan::default()).await?;
    let mut workers = VecDeque::new();
    for _ in 0..WORKERS {
        workers.push_back(rig.worker(&bench.programs, &[])?);
    }
    rig.consumed().await?;
    let script = Arc::new(Requests::over(SERVERS));
    let load = Load::start(rig.terminals().await?, script, false, true);
    load.fill(WINDOW);
    let mut took = Vec::new();
    for _ in 0..bench.scale.stops {
        busy(&rig, &workers, &load).await?;
        let Some(oldest) = workers.pop_front() else { bail!("no worker") };
        let began = Instant::now();
        tokio::task::spawn_blocking(|| oldest.stop()).await??;
        took.push(began.elapsed());
        workers.push_back(rig.worker(&bench.programs, &[])?);
    }
    load.finish().await?;
    for worker in workers {
        worker.stop()?;
    }
    rig.tear_down().await?;
    took.sort_unstable();
    let ms = |part| percentile(&took, part).as_secs_f64() * 1_000.0;
    Ok(Findings {
        figures: vec![("drain p50 ms", ms(0.5)), ("drain max ms", ms(1.0))],
        notes: vec![format!("drain: {} workers told to stop at full load", took.len())],
        ..Findings::default()
    })
}

/// Waits until every worker owns partitions, and then until that work is done.
async fn busy(rig: &Rig<'_>, workers: &VecDeque<Process>, load: &Load) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let pids: Vec<i32> = workers.iter().map(|worker| worker.id() as i32).collect();
    let query = "select count(*) from workers where pid = any ($1) and partitions <> '{}'";
    while rig.database.query_one(query, &[&pids]).await?.get::<_, i64>(0) < WORKERS as i64 {
        if Instant::now() > until {
            bail!("a worker gets no partition");
        }
        sleep(Duration::from_millis(50)).await;
    }
    let enough = done(&load.counts) + BETWEEN;
    while done(&load.counts) < enough {
        if Instant::now() > until {
            bail!("work is not done any more");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
