//! From two partitions to eight while requests come in: queues are added, and three quarters of the servers
//! move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use holdfast::client::Command;
use tokio::process::Command as Program;

use super::requests::Requests;
use super::{Bench, Findings};
use crate::load::{Load, Script, percentile};
use crate::report::Report;
use crate::rig::{Plan, Rig, SERVERS};

/// Partitions before and after.
const FROM: i32 = 2;
const TO: i32 = 8;

/// Requests whose ids grow in the order in which they are sent.
struct Numbered {
    requests: Requests,
    next: AtomicU64,
}

impl Script for Numbered {
    fn begin(&self, terminal: usize) -> Command {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Command { message_id: format!("n-{number:012}"), ..self.requests.begin(terminal) }
    }
}

/// Requests of one terminal for one server that were not decided in the order in which they were sent.
const OUT_OF_ORDER: &str = "select count(*) from (
    select message_id, lag(message_id) over (partition by terminal_id, server_id order by seq) as before
    from processed_commands) decided where before > message_id";

pub async fn moves(bench: &Bench, report: &Report) -> Result<Findings> {
    let rate = report.median("requests").unwrap_or(3_000.0) / 2.0;
    let rig = Rig::set_up(&bench.site, Plan { partitions: FROM, ..Plan::default() }).await?;
    let workers = [rig.worker(&bench.programs, &[])?, rig.worker(&bench.programs, &[])?];
    rig.consumed().await?;
    let terminals = rig.terminals().await?;
    let script = Numbered { requests: Requests::over(SERVERS), next: AtomicU64::new(0) };
    let mut load = Load::start(terminals, Arc::new(script), true, false);
    load.at_rate(rate, bench.scale.warm_up).await;
    load.at_rate(rate, bench.scale.measured).await;
    let before = load.answered().await?;
    load.forget_latencies();

    let began = Instant::now();
    let (moved, ()) = tokio::join!(rebalance(bench, &rig), async {
        // Longer than it takes; the loop below looks whether it did.
        load.at_rate(rate, bench.scale.measured * 5).await;
    });
    let took = moved?.duration_since(began);
    let during = load.answered().await?;
    let begun = load.counts.begun.load(Ordering::Relaxed);
    let stored: i64 =
        rig.database.query_one("select count(*) from processed_commands", &[]).await?.get(0);
    let out_of_order: i64 = rig.database.query_one(OUT_OF_ORDER, &[]).await?.get(0);
    load.finish().await?;
    for worker in workers {
        worker.stop()?;
    }
    ensure!(out_of_order == 0, "{out_of_order} requests were decided out of order");
    rig.tear_down().await?;
    bench.site.forget_vhost(FROM).await?;
    let ms = |latencies: &[_], part| percentile(latencies, part).as_secs_f64() * 1_000.0;
    Ok(Findings {
        figures: vec![
            ("from 2 partitions to 8: s", took.as_secs_f64()),
            ("before: p99 ms", ms(&before, 0.99)),
            ("while servers move: p99 ms", ms(&during, 0.99)),
            ("while servers move: longest ms", ms(&during, 1.0)),
            ("while servers move: not decided", begun as f64 - stored as f64),
        ],
        notes: vec![format!("moves: beside {rate:.0} requests a second")],
        ..Findings::default()
    })
}

/// Returns when it ended.
async fn rebalance(bench: &Bench, rig: &Rig<'_>) -> Result<Instant> {
    let partitions = TO.to_string();
    for arguments in
        [&["topology", "apply", "--partitions", &partitions][..], &["topology", "rebalance"]]
    {
        let run = Program::new(&bench.programs.holdfast)
            .args(arguments)
            .envs(rig.environment())
            .output()
            .await
            .context("running holdfast")?;
        ensure!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
    Ok(Instant::now())
}
