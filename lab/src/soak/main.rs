//! Plays the lives of thousands of reservations at once, while workers are killed and restarted and
//! the biller loses its connection. At the end every promise is checked.
//!
//! With `--chaos` the network, the broker and the database fail as well: see [`chaos`]. With
//! `--from` the current version replaces another version's workers and migrates the schema under
//! them: see [`rolling`].
//!
//! Run it with `./dev soak`, `./dev chaos` or `./dev rolling`. Reading order: [`plan`] is what may
//! happen in one life, [`life`] plays it through a [`terminal`], [`siege`] stops and kills workers,
//! [`checks`] is the verdict.

#![allow(
    clippy::disallowed_methods,
    reason = "set up by `./dev` through the environment; plays clients with clocks"
)]

mod biller;
mod chaos;
mod checks;
mod drain;
mod evidence;
mod facts;
mod former;
mod history;
mod installation;
mod jumps;
mod life;
mod moves;
mod naive;
mod operator;
mod pick;
mod plan;
mod progress;
mod prometheus;
mod queues;
mod record;
mod rolling;
mod run;
mod servers;
mod siege;
mod tally;
mod terminal;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Plays thousands of reservations while workers are killed, then checks that nothing was lost,
/// billed twice or answered wrongly.
///
/// Run it with `./dev soak`, which starts engines. It makes its own database and vhost, so it also
/// works with engines of yours whose accounts may do that. Exits with 1 if a check fails; a check
/// that had nothing to check fails too, as happens with few lifecycles.
#[derive(Parser)]
#[command(name = "soak")]
pub struct Args {
    /// Reservations to request
    #[arg(long, default_value_t = 2_000, value_name = "N", conflicts_with = "chaos")]
    pub lifecycles: usize,
    /// Terminals; two share a user
    #[arg(long, default_value_t = 20, value_name = "T",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(4..=500))]
    pub terminals: usize,
    /// Worker processes; default 3, with --chaos 2 to 4, with --from 4
    #[arg(long, value_name = "W",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=50))]
    pub workers: Option<usize>,
    /// Seed of all random choices, random by default. It does not fix the timing
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Kill and stop no worker: then every counter must equal the history
    #[arg(long, conflicts_with_all = ["chaos", "from"])]
    pub peace: bool,
    /// Break network, broker and database too
    #[arg(long)]
    pub chaos: bool,
    /// How long to bring faults about
    #[arg(long, default_value_t = 2.0, value_name = "M", requires = "chaos")]
    pub minutes: f64,
    /// Only these faults, separated by commas
    #[arg(long, value_name = "FAULT", value_delimiter = ',', requires = "chaos")]
    pub only: Vec<String>,
    /// List what can go wrong and the fault or test for each, and exit
    #[arg(long, requires = "chaos")]
    pub list: bool,
    /// Use only deadlines that are some seconds away
    #[arg(long)]
    pub brief: bool,
    /// Keep database and vhost, and print how to inspect them
    #[arg(long)]
    pub keep: bool,
    /// Directory for logs and evidence
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub logs: PathBuf,
    /// Deploy under load: begin with this program's schema and workers, then migrate the schema and
    /// replace the workers one by one, some of them back and forth
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chaos", "beside", "lifecycles"])]
    pub from: Option<PathBuf>,
    /// Another version of the program, for every other worker
    #[arg(long, value_name = "FILE")]
    pub beside: Option<PathBuf>,
    /// The worker program instead of the one built beside this one, for example one with a seeded
    /// bug
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        chaos::matrix::print();
        return ExitCode::SUCCESS;
    }
    // On a signal the run is dropped, which kills its workers.
    tokio::select! {
        verdict = run::run(&args) => match verdict {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error:#}\nThe workers' logs are in {}", args.logs.display());
                ExitCode::FAILURE
            }
        },
        code = interrupted() => code,
    }
}

/// The exit code that shells use for a signal: 128 and its number.
async fn interrupted() -> ExitCode {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ExitCode::from(130),
        _ = terminate.recv() => ExitCode::from(143),
        _ = hang_up.recv() => ExitCode::from(129),
    }
}
