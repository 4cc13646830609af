//! Runs the program's own commands, as an operator does.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::installation::Installation;
use crate::workers::Environment;

/// Bound on a command. One that moves servers waits a minute for the workers' part.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one of a program's commands and returns what it prints.
pub async fn run(program: &Path, installation: &Installation, words: &[&str]) -> Result<String> {
    let printed = run_for(program, installation, words, PATIENCE).await?;
    printed.with_context(|| format!("{} hangs", words.join(" ")))
}

/// The same, but kills it with SIGKILL after a time. `None` if it was killed. Dropping the future kills it
/// too.
pub async fn run_for(
    program: &Path,
    installation: &Installation,
    words: &[&str],
    limit: Duration,
) -> Result<Option<String>> {
    let environment = installation.environment()?;
    let Some(ended) = end_of(program, environment, words, limit).await? else { return Ok(None) };
    let Ended { status, printed, complaints } = ended;
    let what = words.join(" ");
    ensure!(status.success(), "{what}: {status}: {printed}{complaints}");
    Ok(Some(printed))
}

/// How a command ended, and what it wrote.
pub struct Ended {
    pub status: ExitStatus,
    pub printed: String,
    pub complaints: String,
}

/// Runs a command in any environment, and kills it after a time. `None` if it was killed.
pub async fn end_of(
    program: &Path,
    environment: Environment,
    words: &[&str],
    limit: Duration,
) -> Result<Option<Ended>> {
    let run = Command::new(program)
        .args(words)
        .envs(environment)
        .stdin(Stdio::null())
        // A group of its own: Ctrl-C reaches only the soak.
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let Ok(output) = timeout(limit, run).await else { return Ok(None) };
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    let [printed, complaints] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(Some(Ended { status: output.status, printed, complaints }))
}
