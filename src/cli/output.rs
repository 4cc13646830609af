//! Standard output: tables for people, JSON for programs.

use std::io::{ErrorKind, Write};

use anyhow::Result;
use chrono::SecondsFormat;
use serde::Serialize;

use super::exit::{CliError, refuse};
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
        self.part(&format!("{}\n", line.trim_end()))
    }

    /// Prints a part of a long result as it is.
    pub(super) fn part(self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                Err(CliError::OutputClosed.into())
            }
            result => Ok(result?),
        }
    }

    /// Prints a list: as `--csv` if wanted, else as JSON or `text`.
    pub(super) fn list<T: Serialize>(
        self,
        csv: Csv,
        header: &[&str],
        items: &[T],
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if !csv.wanted(self)? {
            return self.print(&items, text);
        }
        self.part(&csv_header(header)?)?;
        self.part(&csv_rows(items)?)
    }
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Csv {
    /// Print comma-separated values (RFC 4180) with a header line
    #[arg(long)]
    csv: bool,
}

impl Csv {
    /// Refuses `--csv` beside `--json`.
    pub(super) fn wanted(self, output: Output) -> Result<bool> {
        if self.csv && output.json {
            return refuse("--csv and --json: choose one");
        }
        Ok(self.csv)
    }
}

/// The first line of comma-separated values.
pub(super) fn csv_header(names: &[&str]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(names)?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Lines of comma-separated values: the fields of each item, in their order.
pub(super) fn csv_rows<T: Serialize>(items: &[T]) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for item in items {
        writer.serialize(item)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Prints a line for people to standard error. It says nothing that decides anything, so nobody needs to read
/// it: unlike `eprintln!`, which panics, this ignores errors.
macro_rules! hint {
    ($($argument:tt)*) => {
        $crate::cli::output::print_hint(format_args!($($argument)*))
    };
}
pub(super) use hint;

pub(super) fn print_hint(text: std::fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// RFC 3339, so that it can be typed in again.
pub(super) fn time(instant: Timestamp) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) fn yes_or_no(truth: bool) -> String {
    if truth { "yes" } else { "no" }.to_owned()
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
    Columns::default().align(rows)
}

/// Aligns rows that come in parts: a column stays as wide as its widest cell so far.
#[derive(Debug, Default)]
pub(super) struct Columns {
    widths: Vec<usize>,
}

impl Columns {
    /// Rows as lines.
    pub(super) fn align(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&self.widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
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
