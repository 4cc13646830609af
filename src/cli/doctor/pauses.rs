//! Partitions that wait because an operator wants it.

use super::engines::Engines;
use super::finding::{Check, Finding, named};
use crate::cli::pause::{described, resuming};

const PAUSED: Check =
    Check::new("partitions.paused", "pauses of deciding, made by `holdfast pause`");

pub(super) fn check(engines: &Engines<'_>) -> Finding {
    let Some(pauses) = &engines.pauses else { return PAUSED.needs("the database and its schema") };
    let Some(first) = pauses.first() else { return PAUSED.green("none") };
    let paused: Vec<String> = pauses.iter().map(described).collect();
    PAUSED.yellow(
        named(&paused),
        format!(
            "commands and deadlines wait there, in order, until `{}`. Ask who paused it first",
            resuming(first.scope)
        ),
    )
}
