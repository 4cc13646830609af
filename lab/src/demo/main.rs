//! Demonstrates Holdfast with real processes: deadlines some seconds away, a killed worker, an
//! outage of all workers. Every charge is compared with the events that the biller received.
//!
//! Run it with `./dev demo`. Reading order: [`scenes`] is what happens, [`stage`] is the
//! installation, [`timeline`] is what is printed and checked.

#![allow(
    clippy::disallowed_methods,
    reason = "set up by `./dev` through the environment; plays clients with clocks"
)]

mod biller;
mod broker;
mod database;
mod keep;
mod ledger;
mod operator;
mod scenes;
mod stage;
mod terminal;
mod timeline;
mod wait;
mod words;
mod workers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use stage::Stage;

/// Plays six scenes of Holdfast on real engines and checks each; takes less than a minute.
///
/// Run it with `./dev demo`, which starts engines. With engines of your own, the installation must
/// be idle: the demonstration stops all workers for a while, and its biller consumes the billing
/// queue. Exits with 1 if a check fails.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {
    /// Leave the workers running, and print how to inspect the installation
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // On a signal the run is dropped, which kills its workers.
    tokio::select! {
        code = demonstrate(args.keep) => code,
        code = interrupted() => code,
    }
}

async fn demonstrate(keep: bool) -> ExitCode {
    let mut stage = match Stage::set_up().await {
        Ok(stage) => stage,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = play(&mut stage, keep).await {
        // Later scenes depend on earlier ones.
        stage.timeline.mismatch(&format!("{error:#}"));
        stage.workers.print_logs();
    }
    stage.timeline.sum_up();
    if keep {
        keep::explain(&stage);
        stage.workers.leave_running();
    }
    match stage.timeline.mismatches() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

async fn play(stage: &mut Stage, keep: bool) -> Result<()> {
    stage.start_workers().await?;
    scenes::play(stage).await?;
    if keep {
        keep::hold_one(stage).await?;
        keep::park_one(stage).await?;
    }
    ledger::compare(stage).await?;
    if !keep {
        stage.timeline.scene("The workers stop");
        stage.workers.stop_all().await?;
    }
    Ok(())
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
