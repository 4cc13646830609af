//! The program: arguments, telemetry, signals, exit code.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment is read here, once, and the second signal ends the process here"
)]

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use holdfast::cli::Cli;
use holdfast::cli::config::{Config, LogFormat};
use holdfast::cli::exit::{describe, exit_code};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    // Keeps `FAILPOINTS` active.
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(message) = describe(&error) {
                eprintln!("error: {message}");
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let config = cli.read_config(|name| std::env::var_os(name))?;
    start_telemetry(&config);
    cli.run(config, stop_on_signals).await
}

/// Logs to standard error: standard output is for results.
fn start_telemetry(config: &Config) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format() {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// The first SIGTERM or SIGINT cancels the token. The second ends the process.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        loop {
            // 128 + signal, as shells report it.
            let code = tokio::select! {
                _ = terminate.recv() => 143,
                _ = interrupt.recv() => 130,
            };
            if stop.is_cancelled() {
                std::process::exit(code);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
