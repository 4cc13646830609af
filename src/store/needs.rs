//! A batch's needs, and the statements' parameters for them.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::domain::id::{ServerId, TerminalId};
use crate::domain::interval::{Interval, Timestamp};

/// Most reservations that one batch settles. A fresh wake-up settles the rest, so that commands in between
/// wait less: 0.8 s at the 99th percentile, with 100 000 reservations at once. Slices of 400 settle no more
/// per second. See `docs/decisions/0011-settlement-in-slices.md`.
pub const SETTLE_MAX: i64 = 150;

/// What a batch is decided against.
#[derive(Debug, Default)]
pub struct Needs {
    /// Senders of commands.
    pub terminals: BTreeSet<TerminalId>,
    /// Senders of requests.
    pub requesting: BTreeSet<TerminalId>,
    /// Servers of commands and fences.
    pub servers: BTreeSet<ServerId>,
    /// Reservations named by commands.
    pub reservations: BTreeSet<Uuid>,
    /// Message ids that may be decided already.
    pub message_ids: Vec<(TerminalId, String)>,
    /// Requested times by terminal, for its user's quota.
    pub quota: Vec<(TerminalId, Interval)>,
    /// Requested times by server.
    pub windows: BTreeMap<ServerId, Vec<Interval>>,
    /// Instant of the latest wake-up that settles.
    pub due: Option<Timestamp>,
}

/// The needs as parallel arrays, for the statements.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub terminals: Vec<&'a str>,
    pub requesting: Vec<&'a str>,
    pub servers: Vec<&'a str>,
    pub reservations: Vec<Uuid>,
    pub ids: (Vec<&'a str>, Vec<&'a str>),
    pub quota: Spans<'a>,
    pub windows: Spans<'a>,
}

/// Times, each of a terminal or server.
#[derive(Default)]
pub(super) struct Spans<'a> {
    pub of: Vec<&'a str>,
    pub starts: Vec<Timestamp>,
    pub ends: Vec<Timestamp>,
}

impl<'a> Spans<'a> {
    pub fn push(&mut self, of: &'a str, span: Interval) {
        self.of.push(of);
        self.starts.push(span.start);
        self.ends.push(span.end);
    }
}

impl<'a> Columns<'a> {
    pub fn of(needs: &'a Needs) -> Self {
        let mut columns = Self {
            terminals: needs.terminals.iter().map(TerminalId::as_str).collect(),
            requesting: needs.requesting.iter().map(TerminalId::as_str).collect(),
            servers: needs.servers.iter().map(ServerId::as_str).collect(),
            reservations: needs.reservations.iter().copied().collect(),
            ids: needs.message_ids.iter().map(|(t, id)| (t.as_str(), id.as_str())).unzip(),
            ..Self::default()
        };
        for (terminal, interval) in &needs.quota {
            columns.quota.push(terminal.as_str(), *interval);
        }
        for (server, windows) in &needs.windows {
            for window in merged(windows) {
                columns.windows.push(server.as_str(), window);
            }
        }
        columns
    }
}

/// Merges overlapping and touching times, so that a popular hour is read once.
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
