//! What a check found.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::broker::{inspect, is_access_refused};
use crate::cli::exit::describe;
use crate::store::error::StoreError;

/// Bound on one check. Each of its waits has its own, which is shorter and says more.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// Most items that a finding names; the rest is counted.
const NAMED_MAX: usize = 5;

/// How it looks, the better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Green,
    /// Not looked at.
    Skipped,
    /// Works, and will not always.
    Yellow,
    /// Broken, or loses something.
    Red,
}

/// What was looked at, what was seen, and what to do.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub check: &'static str,
    pub looked_at: &'static str,
    pub level: Level,
    pub seen: String,
    /// What to do. Green ones need nothing.
    pub remedy: Option<String>,
}

/// A check, before it has found anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    /// Its area, a dot and its subject. Programs know it by this name.
    pub id: &'static str,
    pub looked_at: &'static str,
}

impl Check {
    pub const fn new(id: &'static str, looked_at: &'static str) -> Self {
        Self { id, looked_at }
    }

    fn finds(self, level: Level, seen: String, remedy: Option<String>) -> Finding {
        Finding { check: self.id, looked_at: self.looked_at, level, seen, remedy }
    }

    pub fn green(self, seen: impl Into<String>) -> Finding {
        self.finds(Level::Green, seen.into(), None)
    }

    pub fn yellow(self, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finds(Level::Yellow, seen.into(), Some(remedy.into()))
    }

    pub fn red(self, seen: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finds(Level::Red, seen.into(), Some(remedy.into()))
    }

    pub fn skipped(self, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.finds(Level::Skipped, why.into(), Some(remedy.into()))
    }

    /// Something that it needs is away or not there, which another check says.
    pub fn needs(self, what: &str) -> Finding {
        self.skipped(format!("needs {what}"), format!("see to {what} first"))
    }

    /// Red if there are such items, which it names.
    pub fn unless_any(self, items: &[String], remedy: &str, none: &str) -> Finding {
        match items {
            [] => self.green(none),
            _ => self.red(named(items), remedy),
        }
    }

    /// It could not look: it lacks a right, or something is broken.
    pub fn failed(self, error: &anyhow::Error) -> Finding {
        let told = describe(error).unwrap_or_else(|| "the output was closed".to_owned());
        match lacks_right(error) {
            true => self.skipped(
                format!("this account may not look: {told}"),
                "run it with an administrator's URLs to check this, too",
            ),
            false => self.red(
                format!("could not be looked at: {told}"),
                "see to what the error names, and run it again",
            ),
        }
    }

    pub fn silent(self) -> Finding {
        let seconds = CHECK_TIMEOUT.as_secs();
        self.red(
            format!("no answer within {seconds} s"),
            "see whether database and broker are overloaded or frozen",
        )
    }
}

/// Bounds a check. One that takes longer is red.
pub(super) async fn bounded(check: Check, work: impl Future<Output = Result<Finding>>) -> Finding {
    match timeout(CHECK_TIMEOUT, work).await {
        Ok(Ok(finding)) => finding,
        Ok(Err(error)) => check.failed(&error),
        Err(_) => check.silent(),
    }
}

fn lacks_right(error: &anyhow::Error) -> bool {
    let of_database = error.chain().any(|cause| {
        let state = match cause.downcast_ref::<StoreError>() {
            Some(error) => error.sql_state(),
            None => cause.downcast_ref().and_then(tokio_postgres::Error::code),
        };
        state == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
    });
    of_database || inspect::is_forbidden(error) || is_access_refused(error)
}

/// The first items, and how many more there are.
pub(super) fn named(items: &[String]) -> String {
    let shown: Vec<&str> = items.iter().take(NAMED_MAX).map(String::as_str).collect();
    match items.len().saturating_sub(NAMED_MAX) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

/// Bytes in a unit that reads well.
pub(super) fn bytes(bytes: u64) -> String {
    const STEP: u64 = 1_024;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10 * STEP && unit + 1 < units.len() {
        value /= STEP;
        unit += 1;
    }
    format!("{value} {}", units[unit])
}
