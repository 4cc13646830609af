//! The operator: sets everything up with the command line.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::timeline::Timeline;

/// Bound on a command: longer than any takes that sets something up.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Operator {
    pub binary: PathBuf,
    pub timeline: Arc<Timeline>,
}

impl Operator {
    /// Runs `holdfast` with these arguments, which must succeed; returns what it printed.
    pub async fn run(&self, arguments: &str) -> Result<String> {
        self.timeline.did("operator", &format!("$ holdfast {arguments}"));
        let output = Command::new(&self.binary)
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .with_context(|| format!("holdfast {arguments} takes too long"))?
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            bail!("holdfast {arguments}: {}: {}", output.status, told.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Adds a terminal; returns its AMQP URL.
    pub async fn add_terminal(&self, id: &str, user: &str) -> Result<String> {
        let printed = self.run(&format!("terminal add {id} --user {user} --json")).await?;
        let printed: Value =
            serde_json::from_str(&printed).context("what `terminal add` printed")?;
        printed["amqp_url"].as_str().map(str::to_owned).context("`terminal add` prints no URL")
    }
}
