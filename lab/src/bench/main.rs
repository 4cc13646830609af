//! Measures Holdfast against the broker's ceiling. `./dev bench --help` says how to run it.
//!
//! Everything is a ratio within one run, because machines differ and are noisy. `echo` does what a
//! worker does, without the database. `one by one` is a worker with batches of one message. Both
//! must reach a plausible rate, so that a slow baseline cannot flatter a ratio.

#![allow(
    clippy::disallowed_methods,
    reason = "set up by `./dev` through the environment; plays clients with clocks"
)]

mod accounts;
mod chart;
mod cost;
mod echo;
mod engines;
mod invariants;
mod load;
mod machine;
mod patient;
mod process;
mod report;
mod rig;
mod scenarios;
mod site;
mod statements;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use machine::Setting;
use process::Programs;
use report::Report;
use scenarios::{Bench, Scale, Scenario};
use site::Site;

const EXIT_CODES: &str = "\
Exit codes: 0 measured, whatever the ratios; 1 failed, which includes an invariant that did not
hold; 2 wrong usage; 3 void, since a baseline is implausibly slow; 130 interrupted.";

/// Measure Holdfast on private engines, as ratios within one run. All of it takes about an hour.
#[derive(Parser)]
#[command(name = "bench", bin_name = "./dev bench", max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// The first six scenarios only, scaled down: about three minutes
    #[arg(long)]
    quick: bool,
    /// Only these scenarios, in the usual order
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Rounds of each scenario, in turn; long ones are not in every round [default: 2 with --quick,
    /// else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Show the statements that the database spends most time on. Counting them costs some speed
    #[arg(long)]
    profile: bool,
    /// Where to write the results
    #[arg(long, value_name = "FILE", default_value = "bench.json")]
    json: PathBuf,
    /// Where to write the chart
    #[arg(long, value_name = "FILE", default_value = "bench.svg")]
    chart: PathBuf,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Answer every command without a decision; the scenario `echo` measures this
    #[command(hide = true)]
    EchoWorker,
}

/// Outcome of a run that did not fail.
enum Ended {
    Measured,
    Void,
    Interrupted,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.role {
        Some(Role::EchoWorker) => echo::run().await.map(|()| Ended::Measured),
        None => bench(&cli).await,
    };
    match outcome {
        Ok(Ended::Measured) => ExitCode::SUCCESS,
        Ok(Ended::Void) => ExitCode::from(3),
        Ok(Ended::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything. Removes what it made even if that fails.
async fn bench(cli: &Cli) -> Result<Ended> {
    let began = Instant::now();
    let scale = if cli.quick { Scale::quick() } else { Scale::full() };
    let (programs, site) = (Programs::find()?, Site::set_up().await?);
    let mut report = Report::new(cli.quick, Setting::of(&site).await?);
    let bench = Bench { site, programs, scale, profile: cli.profile };
    let outcome = tokio::select! {
        outcome = rounds(cli, &bench, &mut report) => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    let removed = bench.site.remove().await.context("removing what was made");
    let Some(outcome) = outcome else { return Ok(Ended::Interrupted) };
    let failed = outcome.and(removed).err();
    let seconds = began.elapsed().as_secs_f64();
    std::fs::write(&cli.json, report.json(seconds)?).context("writing the results")?;
    std::fs::write(&cli.chart, report.chart()).context("writing the chart")?;
    println!("\n{}", report.table());
    eprintln!(
        "bench: {seconds:.0} s; {} and {} hold the same numbers",
        cli.json.display(),
        cli.chart.display()
    );
    // A failure does not lose earlier measurements.
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(if report.void().is_some() { Ended::Void } else { Ended::Measured })
}

/// Runs the scenarios in turn, round by round.
async fn rounds(cli: &Cli, bench: &Bench, report: &mut Report) -> Result<()> {
    let rounds = cli.rounds.map_or(bench.scale.rounds, usize::from);
    let chosen = Scenario::all().iter().filter(|scenario| match cli.only.is_empty() {
        true => !cli.quick || scenario.is_quick(),
        false => cli.only.contains(scenario),
    });
    let chosen: Vec<Scenario> = chosen.copied().collect();
    for round in 1..=rounds {
        for scenario in &chosen {
            if round > scenario.rounds_max(cli.quick) {
                continue;
            }
            let (name, began) = (scenario.name(), Instant::now());
            eprintln!("bench: round {round} of {rounds}: {name}");
            let findings = scenario.run(bench, report).await;
            report.add(name, findings.with_context(|| format!("scenario {name}"))?);
            eprintln!("bench:   took {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    Ok(())
}
