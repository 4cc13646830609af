//! What is kept when something is wrong.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::TryStreamExt;
use tokio_postgres::Client;

use crate::checks::Check;
use crate::record::{Heard, Sent};
use crate::terminal::Terminal;

const TABLES: [&str; 8] = [
    "reservations",
    "history",
    "requests",
    "billing_entries",
    "announcements",
    "outbox",
    "wake_ups",
    "suspects",
];

/// Writes everything that was found, and what it was found in, beside the workers' logs.
pub async fn keep(
    dir: &Path,
    checks: &[Check],
    client: &Client,
    terminals: &[Arc<Terminal>],
) -> Result<()> {
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
    write_terminals(dir, terminals)
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

fn write_terminals(dir: &Path, terminals: &[Arc<Terminal>]) -> Result<()> {
    let mut file = create(dir, "terminals.txt")?;
    for terminal in terminals {
        let id = &terminal.id;
        let record = terminal.record();
        for sent in record.sent.values().chain(record.reused.values()) {
            let Sent { intent, sendings, first_at, .. } = sent;
            let command = &intent.command;
            let (message, kind) = (&command.message_id, command.kind.as_str());
            let body = String::from_utf8_lossy(&command.body);
            writeln!(file, "{first_at} {id} sent {message} {kind} x{sendings} {body}")?;
        }
        for (message, heard) in &record.answers {
            for Heard { first_at, times, body, .. } in heard {
                let body = String::from_utf8_lossy(body);
                writeln!(file, "{first_at} {id} heard {message} x{times} {body}")?;
            }
        }
        for Heard { first_at, times, body, .. } in &record.notices {
            let body = String::from_utf8_lossy(body);
            writeln!(file, "{first_at} {id} noticed x{times} {body}")?;
        }
    }
    Ok(file.flush()?)
}
