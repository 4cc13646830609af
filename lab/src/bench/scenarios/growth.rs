//! Requests among very many stored reservations, against the same in an empty database.

use std::time::Instant;

use anyhow::Result;

use super::requests::{Requests, full_load};
use super::{Bench, Findings, fill};
use crate::rig::{Plan, Rig, SERVERS};

pub async fn growth(bench: &Bench) -> Result<Findings> {
    let plan = Plan { count_statements: bench.profile, ..Plan::default() };
    let filled = Rig::set_up(&bench.site, plan).await?;
    let (all, open) = bench.scale.stored;
    let began = Instant::now();
    fill::store(&filled, all, open).await?;
    let mut findings = Findings::default();
    let seconds = began.elapsed().as_secs_f64();
    findings
        .notes
        .push(format!("growth: stored {all} reservations, {open} of them open, in {seconds:.0} s"));
    for _ in 0..bench.scale.growth_rounds {
        let empty = Rig::set_up(&bench.site, Plan::default()).await?;
        measure(bench, &empty, "growth empty", &mut findings).await?;
        empty.tear_down().await?;
        filled.purge().await?;
        measure(bench, &filled, "growth", &mut findings).await?;
    }
    filled.tear_down().await?;
    Ok(findings)
}

async fn measure(
    bench: &Bench,
    rig: &Rig<'_>,
    name: &'static str,
    findings: &mut Findings,
) -> Result<()> {
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let measured = full_load(bench, rig, Requests::over(SERVERS)).await?;
    eprintln!("bench:   {name} {:.1}", measured.rate);
    findings.figures.push((name, measured.rate));
    findings.costs.push((name, measured.cost));
    if name == "growth" {
        findings.statements = measured.statements;
    }
    worker.stop()
}
