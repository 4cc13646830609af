//! A worker's memory at full load, what remains in the database afterwards, and the cost of an idle
//! worker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::deadlines::{Lifecycles, SOON, bill, plan};
use super::requests::{WINDOW, done};
use super::{Bench, Findings};
use crate::load::Load;
use crate::process::Process;
use crate::rig::{Plan, Rig};
use crate::statements;

/// Pause between two looks at the memory.
const PAUSE: Duration = Duration::from_secs(1);

/// Tables whose rows are short-lived.
const HOT: [&str; 3] = ["timers", "outbox", "processed_commands"];

/// Whole lifecycles, because they use every part of a worker.
pub async fn memory(bench: &Bench) -> Result<Findings> {
    let plan = Plan { count_statements: true, ..plan() };
    let rig = Rig::set_up(&bench.site, plan).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let biller = bill(&rig).await?;
    let script = Arc::new(Lifecycles(SOON));
    let load = Load::start(rig.terminals().await?, script, false, true);
    load.fill(WINDOW);
    let mut samples = Vec::new();
    let mut rates = Vec::new();
    let until = Instant::now() + bench.scale.memory;
    let (mut thirds, mut before) = (Instant::now(), 0);
    while Instant::now() < until {
        tokio::time::sleep(PAUSE).await;
        samples.push(worker.memory_mib()?);
        if thirds.elapsed() >= bench.scale.memory / 3 || Instant::now() >= until {
            let now = done(&load.counts);
            rates.push((now - before) as f64 / thirds.elapsed().as_secs_f64());
            (thirds, before) = (Instant::now(), now);
        }
    }
    load.finish().await?;
    biller.wait_for_all(&rig).await?;
    let mut findings = of_memory(&samples);
    let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    findings.notes.push(format!("memory: lifecycles/s third by third: {}", rates.join(", ")));
    findings.notes.extend(bloat(&rig).await?);
    idle(bench, &rig, &worker, &mut findings).await?;
    worker.stop()?;
    rig.tear_down().await?;
    Ok(findings)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Growth: compares the last third with the first one after warming up.
fn of_memory(samples: &[f64]) -> Findings {
    let warm = &samples[samples.len() / 10..];
    let third = warm.len() / 3;
    let (first, last) = (median(&warm[..third]), median(&warm[warm.len() - third..]));
    let peak = samples.iter().copied().fold(0.0, f64::max);
    Findings {
        figures: vec![("memory MiB", peak), ("memory growth MiB", last - first)],
        notes: vec![format!("memory: median of the first third {first:.1}, of the last {last:.1}")],
        ..Findings::default()
    }
}

/// Sizes and dead rows.
async fn bloat(rig: &Rig<'_>) -> Result<Vec<String>> {
    let query = "select pg_table_size(relid) / 1024, pg_indexes_size(relid) / 1024,
            n_live_tup, n_dead_tup, autovacuum_count
        from pg_stat_user_tables where relname = $1";
    let mut notes = Vec::new();
    for table in HOT {
        let row = rig.database.query_one(query, &[&table]).await?;
        let [kib, indexes, live, dead, vacuumed] =
            [0, 1, 2, 3, 4].map(|column| row.get::<_, i64>(column));
        notes.push(format!(
            "{table}: {kib} KiB, indexes {indexes} KiB, {live} rows live, {dead} dead, vacuumed \
             {vacuumed} times"
        ));
    }
    Ok(notes)
}

/// Processor time and statements of an idle worker.
async fn idle(
    bench: &Bench,
    rig: &Rig<'_>,
    worker: &Process,
    findings: &mut Findings,
) -> Result<()> {
    // Relay and sweep must have nothing left to do.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let counts = bench.site.counts_statements;
    if counts {
        statements::reset(&bench.site, &rig.name).await?;
    }
    let (before, began) = (worker.cpu_seconds()?, Instant::now());
    tokio::time::sleep(bench.scale.idle).await;
    let seconds = began.elapsed().as_secs_f64();
    let busy = (worker.cpu_seconds()? - before) / seconds;
    findings.figures.push(("idle % of a core", busy * 100.0));
    if !counts {
        findings.notes.push("idle: the database does not count statements".to_owned());
        return Ok(());
    }
    let mut asked = statements::since_reset(&bench.site, &rig.name).await?;
    asked.sort_by_key(|statement| -statement.calls);
    let all: i64 = asked.iter().map(|statement| statement.calls).sum();
    findings.figures.push(("idle statements/s", all as f64 / seconds));
    for statement in asked.iter().take(6) {
        findings.notes.push(format!(
            "idle: every {:.1} s {}",
            seconds / statement.calls as f64,
            statement.text
        ));
    }
    Ok(())
}
