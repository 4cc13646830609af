//! Holdfast under siege: thousands of lives of reservations, all at once, while workers are killed
//! and restarted and the biller loses its connection. At the end every promise is checked.
//!
//! With `--chaos` the network, the broker and the database break as well: see [`chaos`].
//!
//! With `--from` another version's workers are replaced by the current ones instead, and the schema
//! changes under them: see [`rolling`].
//!
//! Run it with `./dev soak`, `./dev chaos` or `./dev rolling`. Reading order: [`plan`] is what may happen
//! in one life, [`life`] plays it through a [`terminal`]; [`siege`] is what happens to the workers;
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
mod history;
mod installation;
mod life;
mod naive;
mod pick;
mod plan;
mod progress;
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
/// billed twice or told wrongly.
///
/// Run it with `./dev soak`, which brings the engines. It makes a database and a vhost of its own,
/// so that engines of your own are fine too, if their accounts may do that. Exits with 1 if
/// anything is not as it should be; that includes a check that had nothing to check, as happens with
/// few lifecycles.
#[derive(Parser)]
#[command(name = "soak")]
pub struct Args {
    /// Reservations to ask for
    #[arg(long, default_value_t = 2_000, value_name = "N", conflicts_with = "chaos")]
    pub lifecycles: usize,
    /// Terminals; two share a user
    #[arg(long, default_value_t = 20, value_name = "T",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(4..=500))]
    pub terminals: usize,
    /// Worker processes: 3, with chaos 2 to 4, in a deploy 4
    #[arg(long, value_name = "W",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=50))]
    pub workers: Option<usize>,
    /// What is asked for and who is killed when; random unless set. It does not fix the timing
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Break everything: network, broker and database too
    #[arg(long)]
    pub chaos: bool,
    /// How long to break things
    #[arg(long, default_value_t = 2.0, value_name = "M", requires = "chaos")]
    pub minutes: f64,
    /// Only these faults, with commas
    #[arg(long, value_name = "FAULT", value_delimiter = ',', requires = "chaos")]
    pub only: Vec<String>,
    /// List faults, and what can go wrong, and do nothing
    #[arg(long, requires = "chaos")]
    pub list: bool,
    /// No deadline is more than some seconds away
    #[arg(long)]
    pub brief: bool,
    /// Leave database and vhost behind, and tell how to look around
    #[arg(long)]
    pub keep: bool,
    /// Where logs and evidence go
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub logs: PathBuf,
    /// Deploy under load: begin with workers of this program and its schema, then apply the current
    /// ones' steps and replace the workers, one by one, some of them back and forth
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chaos", "beside", "lifecycles"])]
    pub from: Option<PathBuf>,
    /// Another version of the worker program, for every other worker
    #[arg(long, value_name = "FILE")]
    pub beside: Option<PathBuf>,
    /// The worker program, unless it is the one built beside this one: to see that the soak finds
    /// what is wrong with a broken one
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
    // The run is dropped when a signal comes first, and its workers with it.
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

/// As a shell reports a signal: 128 and its number.
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
