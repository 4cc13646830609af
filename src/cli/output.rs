//! Standard output: tables for people, JSON for programs.

use std::io::{ErrorKind, Write};

use anyhow::Result;
use chrono::SecondsFormat;
use serde::Serialize;

use super::exit::CliError;
use crate::domain::interval::Timestamp;

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// One JSON document per line instead of text.
    pub(super) json: bool,
}

impl Output {
    /// Prints `value` as JSON, or `text`.
    pub(super) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.line(&serde_json::to_string(value)?) } else { self.line(&text()) }
    }

    /// Prints `line` without trailing whitespace.
    pub(super) fn line(self, line: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{}", line.trim_end()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                Err(CliError::OutputClosed.into())
            }
            result => Ok(result?),
        }
    }
}

/// Tells a person something that is no result. A standard error that cannot be written to stops nothing.
pub(super) fn hint(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// RFC 3339, so that it can be typed in again.
pub(super) fn time(instant: Timestamp) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) fn yes_or_no(truth: bool) -> String {
    if truth { "yes" } else { "no" }.to_owned()
}

pub(super) fn money(amount_minor: impl std::fmt::Display, currency: &str) -> String {
    format!("{amount_minor} {currency} minor units")
}

pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header = header.iter().map(|cell| cell.to_string()).collect();
    columns(&[&[header], rows].concat())
}

pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let rows: Vec<Vec<String>> =
        fields.iter().map(|(name, value)| vec![name.to_string(), value.clone()]).collect();
    columns(&rows)
}

fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_blanks() {
        let rows = [vec!["gpu-1".to_owned(), "4".to_owned()], vec!["ä".to_owned(), String::new()]];
        assert_eq!(table(&["ID", "CAPACITY"], &rows), "ID     CAPACITY\ngpu-1  4\nä\n");
        assert_eq!(table(&["ID"], &[]), "ID\n");
    }
}
