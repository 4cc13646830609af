//! `holdfast doctor`: looks for everything that is known to go wrong around an installation.

mod accounts;
mod broker;
mod clocks;
mod database;
mod engines;
mod finding;
mod pauses;
mod probes;
mod report;
mod schema;
mod text;
mod topology;
mod work;

use anyhow::Result;

use super::context::Context;
use super::exit::CliError;
use engines::Engines;
use finding::{Finding, Level};
use report::Report;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only look: send nothing through the delay ladder and the partitions
    #[arg(long)]
    no_probe: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<()> {
    let report = Report::of(examine(context, !args.no_probe).await);
    context.output.print(&report, || text::of(&report))?;
    match report.red {
        0 => Ok(()),
        red => {
            let named = report.checks.iter().filter(|finding| finding.level == Level::Red);
            let named: Vec<&str> = named.map(|finding| finding.check).collect();
            let message = format!("checks that are red: {red} ({})", named.join(", "));
            Err(CliError::CheckFailed(message).into())
        }
    }
}

async fn examine(context: &Context, probe: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let engines = Engines::open(context, &mut findings).await;
    findings.extend(clocks::check(&engines).await);
    findings.extend(database::check(context, &engines).await);
    findings.extend(schema::check(context, &engines).await);
    findings.extend(broker::check(&engines).await);
    findings.extend(topology::check(context, &engines).await);
    findings.extend(accounts::check(&engines).await);
    findings.push(pauses::check(&engines));
    findings.extend(work::check(&engines).await);
    if probe {
        findings.extend(probes::check(&engines).await);
    }
    findings
}
