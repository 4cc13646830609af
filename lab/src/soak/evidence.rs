//! Files that are kept when a check fails.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use tokio_postgres::Client;

use crate::checks::Check;

const TABLES: [&str; 11] = [
    "reservations",
    "history",
    "processed_commands",
    "billing_entries",
    "outbox_messages",
    "outbox",
    "timers",
    "delivery_attempts",
    "servers",
    "moves",
    "topology",
];

/// Writes all findings, and the data behind them, beside the workers' logs and the history.
pub async fn keep(dir: &Path, checks: &[Check], client: &Client) -> Result<()> {
    let mut broken = create(dir, "broken.txt")?;
    for check in checks.iter().filter(|check| !check.holds()) {
        writeln!(broken, "{}", check.name)?;
        for what in &check.wrong {
            writeln!(broken, "  {what}")?;
        }
    }
    broken.flush()?;
    for table in TABLES {
        write_table(dir, client, table).await?;
    }
    Ok(())
}

fn create(dir: &Path, name: &str) -> Result<BufWriter<File>> {
    let path = dir.join(name);
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(BufWriter::new(file))
}

async fn write_table(dir: &Path, client: &Client, table: &str) -> Result<()> {
    let mut file = create(dir, &format!("{table}.csv"))?;
    let rows = client.copy_out(&format!("copy {table} to stdout csv header")).await?;
    let mut rows = std::pin::pin!(rows);
    while let Some(bytes) = rows.try_next().await? {
        file.write_all(&bytes)?;
    }
    Ok(file.flush()?)
}
