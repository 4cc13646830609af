//! The program: arguments, telemetry, signals, exit code.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment is read here, once, and a signal ends the process here"
)]

mod logging;
#[cfg(feature = "otel")]
mod otel;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::exit::{describe, exit_code};
use holdfast::cli::{Cli, Stop};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // Keeps `FAILPOINTS` active.
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let stop = Stop::default();
    // First: the kernel ignores signals to process 1 that nobody handles.
    let listening = Runtime::new().and_then(|runtime| {
        runtime.block_on(async { end_on_signals(stop.clone()) })?;
        Ok(runtime)
    });
    let outcome = match listening {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(Cli::parse(), stop));
            // A name that is still looked up would hold up the end.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(message) = describe(&error) {
                // Nobody may read it; the exit code says it, too.
                writeln!(std::io::stderr(), "error: {message}").ok();
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

async fn run(cli: Cli, stop: Stop) -> anyhow::Result<()> {
    let config = cli.read_config(|name| std::env::var_os(name))?;
    let log = logging::start(&config);
    #[cfg(feature = "otel")]
    let export = otel::start(|name| std::env::var_os(name).filter(|_| cli.is_worker()));
    let outcome = cli.run(config, stop).await;
    #[cfg(feature = "otel")]
    export.finish().await;
    log.finish();
    outcome
}

/// SIGTERM and SIGINT end the process, or the first one only lets a command finish its work.
fn end_on_signals(stop: Stop) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            // 128 + signal, as shells report it.
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            if stop.signal() {
                std::process::exit(code);
            }
        }
    });
    Ok(())
}
