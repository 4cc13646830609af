//! Requests at half load, alone and beside as many queries as the workers answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use holdfast::client::{Command, Reply};
use holdfast::message::answer::Answer;
use rand::Rng;
use uuid::Uuid;

use super::requests::Requests;
use super::{Bench, Findings};
use crate::cost::Meter;
use crate::load::{Counts, Load, Script, percentile};
use crate::report::Report;
use crate::rig::{MANY, Plan, Rig, SERVERS};

/// Terminals that request.
const REQUESTING: usize = 25;

/// Unanswered queries of each of the others. Before its queries it makes as many reservations, for its lists
/// to hold.
const WINDOW: usize = 20;

/// Reservations in a list.
const PAGE: i64 = 20;

/// Asks for the free places of a random server, or lists reservations and shows the first one.
struct Queries {
    first_slot: DateTime<Utc>,
}

impl Script for Queries {
    fn begin(&self, _terminal: usize) -> Command {
        let (mut rng, id) = (rand::rng(), Uuid::new_v4().to_string());
        match rng.random_range(0..2) {
            0 => Command::list(id, Some(PAGE), None),
            _ => {
                let server = format!("gpu-{}", rng.random_range(0..SERVERS));
                let start = self.first_slot + TimeDelta::days(rng.random_range(0..80));
                Command::availability(id, &server, start, start + TimeDelta::days(1))
            }
        }
    }

    fn follow(&self, _terminal: usize, reply: &Reply) -> Option<Command> {
        if reply.type_name != "reservation.listed" {
            return None;
        }
        let Ok(Answer::Listed { reservations, .. }) = reply.answer() else { return None };
        Some(Command::show(Uuid::new_v4().to_string(), reservations.first()?.id))
    }
}

fn answers(counts: &Counts) -> u64 {
    counts.answers.load(Ordering::Relaxed)
}

pub async fn queries(bench: &Bench, report: &Report) -> Result<Findings> {
    let rate = report.median("requests").unwrap_or(3_000.0) / 2.0;
    let plan = Plan { terminals: MANY, count_statements: bench.profile, ..Plan::default() };
    let rig = Rig::set_up(&bench.site, plan).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    rig.queries_consumed().await?;
    let mut terminals = rig.terminals().await?;
    let asking = terminals.split_off(REQUESTING);
    let (count, first) = (asking.len(), Requests::over(SERVERS));
    let script = Arc::new(Queries { first_slot: first.first_slot });
    let queries = Load::start(asking, script, false, true);
    let mut requests = Load::start(terminals, Arc::new(Requests::over(SERVERS)), true, false);
    let mut findings = Findings::default();
    findings.notes.push(format!("queries: beside {rate:.0} requests a second"));

    requests.at_rate(rate, bench.scale.warm_up).await;
    requests.forget_latencies();
    requests.at_rate(rate, bench.scale.measured).await;
    let alone = requests.answered().await?;

    // Each answer to such a request is followed by a query, and that by the next one.
    for terminal in (0..count).cycle().take(count * WINDOW) {
        queries.say(terminal, first.begin(terminal));
    }
    requests.at_rate(rate, bench.scale.warm_up).await;
    requests.forget_latencies();
    bench.begin_profile(&rig).await?;
    let (meter, before) = (Meter::start()?, answers(&queries.counts));
    let (per_second, ()) = tokio::join!(
        queries.rate(bench.scale.measured, answers),
        requests.at_rate(rate, bench.scale.measured)
    );
    let cost = meter.stop((answers(&queries.counts) - before) as f64)?;
    findings.statements = bench.end_profile(&rig).await?;
    let beside = requests.answered().await?;

    requests.finish().await?;
    queries.finish().await?;
    worker.stop()?;
    rig.tear_down().await?;
    let ms = |latencies: &[_], part| percentile(latencies, part).as_secs_f64() * 1_000.0;
    findings.figures = vec![
        ("queries", per_second),
        ("without queries: p50 ms", ms(&alone, 0.50)),
        ("without queries: p99 ms", ms(&alone, 0.99)),
        ("beside queries: p50 ms", ms(&beside, 0.50)),
        ("beside queries: p99 ms", ms(&beside, 0.99)),
    ];
    findings.costs.push(("queries, with requests", cost));
    Ok(findings)
}
