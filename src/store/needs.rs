//! What a batch is to be decided against, and how it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::domain::id::{ServerId, TerminalId};
use crate::domain::input::{Page, Window};
use crate::domain::interval::{Interval, Timestamp};

/// Most reservations that one batch settles. The rest waits for a fresh wake-up, so that commands in
/// between wait for little: with four partitions and 100 000 reservations at once, on a machine of
/// two processors, 0.8 s at the 99th percentile. Slices of 400 settle no more per second.
pub const SETTLE_MAX: i64 = 150;

/// What a batch is to be decided against.
#[derive(Debug, Default)]
pub struct Needs {
    /// Terminals that sent something.
    pub terminals: BTreeSet<TerminalId>,
    /// Those of them that request something.
    pub requesting: BTreeSet<TerminalId>,
    /// Servers that requests name.
    pub servers: BTreeSet<ServerId>,
    /// Reservations that commands name.
    pub reservations: BTreeSet<Uuid>,
    /// Message ids that may be decided already, each with its terminal.
    pub message_ids: Vec<(TerminalId, String)>,
    /// Requested times, by the terminal whose user's quota they take.
    pub quota: Vec<(TerminalId, Interval)>,
    /// Requested times by server.
    pub windows: BTreeMap<ServerId, Vec<Interval>>,
    /// Pages of lists.
    pub pages: Vec<(TerminalId, Page)>,
    /// Servers' time that is asked about.
    pub calendars: Vec<Window>,
    /// The instant of the latest wake-up that settles.
    pub due: Option<Timestamp>,
}

/// What is needed as the statements take it: a column of each list, side by side.
pub(super) struct Columns<'a> {
    pub terminals: Vec<&'a str>,
    pub requesting: Vec<&'a str>,
    pub servers: Vec<&'a str>,
    pub reservations: Vec<Uuid>,
    pub ids: (Vec<&'a str>, Vec<&'a str>),
    pub quota: (Vec<&'a str>, Vec<Timestamp>, Vec<Timestamp>),
    pub windows: (Vec<&'a str>, Vec<Timestamp>, Vec<Timestamp>),
    pub pages: (Vec<i32>, Vec<&'a str>, Vec<Option<Uuid>>, Vec<i64>),
    pub calendars: (Vec<i32>, Vec<&'a str>, Vec<Timestamp>, Vec<Timestamp>),
}

impl<'a> Columns<'a> {
    pub fn of(needs: &'a Needs) -> Self {
        let mut columns = Self {
            terminals: needs.terminals.iter().map(TerminalId::as_str).collect(),
            requesting: needs.requesting.iter().map(TerminalId::as_str).collect(),
            servers: needs.servers.iter().map(ServerId::as_str).collect(),
            reservations: needs.reservations.iter().copied().collect(),
            ids: needs.message_ids.iter().map(|(t, id)| (t.as_str(), id.as_str())).unzip(),
            quota: (Vec::new(), Vec::new(), Vec::new()),
            windows: (Vec::new(), Vec::new(), Vec::new()),
            pages: (Vec::new(), Vec::new(), Vec::new(), Vec::new()),
            calendars: (Vec::new(), Vec::new(), Vec::new(), Vec::new()),
        };
        for (terminal, interval) in &needs.quota {
            columns.quota.0.push(terminal.as_str());
            columns.quota.1.push(interval.start);
            columns.quota.2.push(interval.end);
        }
        for (server, windows) in &needs.windows {
            for window in merged(windows) {
                columns.windows.0.push(server.as_str());
                columns.windows.1.push(window.start);
                columns.windows.2.push(window.end);
            }
        }
        for (index, (terminal, page)) in (0..).zip(&needs.pages) {
            columns.pages.0.push(index);
            columns.pages.1.push(terminal.as_str());
            columns.pages.2.push(page.after);
            columns.pages.3.push(i64::try_from(page.limit).unwrap_or(i64::MAX));
        }
        for (index, window) in (0..).zip(&needs.calendars) {
            columns.calendars.0.push(index);
            columns.calendars.1.push(window.server.as_str());
            columns.calendars.2.push(window.interval.start);
            columns.calendars.3.push(window.interval.end);
        }
        columns
    }
}

/// Overlapping and touching times as one, so that a popular hour is read once and not once per
/// request.
fn merged(windows: &[Interval]) -> Vec<Interval> {
    let mut windows = windows.to_vec();
    windows.sort_unstable();
    let mut merged: Vec<Interval> = Vec::new();
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ => merged.push(window),
        }
    }
    merged
}
