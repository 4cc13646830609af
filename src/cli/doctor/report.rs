//! What `holdfast doctor` found.

use serde::Serialize;

use super::finding::{Finding, Level};

/// What was found, for programs.
#[derive(Serialize)]
pub(super) struct Report {
    pub green: usize,
    pub yellow: usize,
    pub red: usize,
    pub skipped: usize,
    pub checks: Vec<Finding>,
}

impl Report {
    /// The worst first.
    pub fn of(mut checks: Vec<Finding>) -> Self {
        checks.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let count = |level| checks.iter().filter(|finding| finding.level == level).count();
        Self {
            green: count(Level::Green),
            yellow: count(Level::Yellow),
            red: count(Level::Red),
            skipped: count(Level::Skipped),
            checks,
        }
    }
}
