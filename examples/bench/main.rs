//! Measures Holdfast against the broker's own ceiling; `./dev bench --help` says how to run it.
//!
//! Everything is a ratio inside one run, since machines differ and are noisy: `echo` does what a
//! worker does but for the database, `one by one` is a worker with batches of one message. Both
//! bounds of plausibility are checked, so that a slow baseline cannot flatter a ratio.

mod echo;
mod load;
mod process;
mod report;
mod rig;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use process::Programs;
use report::Report;
use scenarios::{Scale, Scenario};

/// Measure Holdfast on private engines.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Cli {
    /// Shorter measurements, fewer rounds, and the scenarios 1 to 6 only: about three minutes
    #[arg(long)]
    quick: bool,
    /// Only these scenarios; `echo` is always among them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Rounds of each scenario, one after the other in turn; default 2 with --quick, else 3
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
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
    /// Answer every command without deciding anything; what the scenario `echo` measures
    #[command(hide = true)]
    EchoWorker,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.role {
        Some(Role::EchoWorker) => echo::run().await.map(|()| true),
        None => bench(&cli).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios in turn, round by round. `false` when the run is void.
async fn bench(cli: &Cli) -> Result<bool> {
    let scale = if cli.quick { Scale::quick() } else { Scale::full() };
    let rounds = cli.rounds.unwrap_or(scale.rounds);
    let chosen: Vec<Scenario> = Scenario::ALL
        .into_iter()
        .filter(|scenario| match cli.only.is_empty() {
            true => !cli.quick || scenario.is_quick(),
            false => *scenario == Scenario::Echo || cli.only.contains(scenario),
        })
        .collect();
    let programs = Programs::beside_ourselves()?;
    let mut report = Report::new(cli.quick);
    for round in 1..=rounds {
        for scenario in &chosen {
            if round > scenario.rounds_max() {
                continue;
            }
            eprintln!("bench: round {round} of {rounds}: {}", scenario.name());
            let figures = scenario
                .run(&programs, &scale, &report)
                .await
                .with_context(|| format!("scenario {}", scenario.name()))?;
            for (name, value) in figures {
                eprintln!("bench:   {name} {value:.1}");
                report.add(name, value);
            }
        }
    }
    std::fs::write(&cli.json, report.json()?).context("writing the results")?;
    std::fs::write(&cli.chart, report.chart()).context("writing the chart")?;
    println!("{}", report.table());
    eprintln!("bench: {} and {} hold the same numbers", cli.json.display(), cli.chart.display());
    Ok(report.is_plausible())
}
