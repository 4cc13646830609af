//! Locks and reads everything that a batch is decided against, in one round trip.
//!
//! READ COMMITTED gives each statement its own snapshot, so what is read after the locks sees all
//! that their earlier holders committed.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::StoreError;
use super::sequence::{Param, rows, run, send};
use super::snapshot;
use super::statements;
use crate::domain::id::{ServerId, TerminalId, UserId};
use crate::domain::input::{Page, Window};
use crate::domain::interval::{Interval, Timestamp};
use crate::domain::snapshot::Snapshot;

/// Most reservations that one batch settles. The rest waits for a fresh wake-up, so that commands in
/// between wait for little: with four partitions and 100 000 reservations at once, on a machine of
/// two processors, 0.8 s at the 99th percentile. Slices of 400 settle no more per second.
pub const SETTLE_MAX: i64 = 150;

/// Most reservations read for one `availability` query beyond the server's capacity; more than an
/// answer can tell of.
const CALENDAR_MAX: i64 = 1_000;

/// Whether a batch's users are locked before their use is read.
///
/// Users are what batches of different partitions share. Locked early, they are held while the worker
/// decides, and batches wait for each other's round trips; so that is only done where it matters.
#[derive(Debug, Clone, Copy)]
pub enum Users<'a> {
    /// Read as they are. The guard locks them when reservations are written, and refuses what does
    /// not fit then.
    Unlocked,
    /// Locked first: those who request something, so that a refusal for want of quota or holds rests
    /// on current counts, and those named. These are users whose use the batch changes otherwise;
    /// locked only when that is written, they could make two batches wait for each other.
    Locked(&'a [UserId]),
}

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

statements!(
    lock_servers,
    lock_reservations,
    lock_users,
    load_users,
    load_known,
    load_terminals,
    load_closures,
    load_quota,
    load_booked,
    load_pages,
    load_servers,
    load_calendars,
    load_clock,
);

/// What the statements answered.
pub(super) struct Loaded {
    pub servers: Vec<Row>,
    pub reservations: Vec<Row>,
    pub users: Vec<Row>,
    pub known: Vec<Row>,
    pub terminals: Vec<Row>,
    pub closures: Vec<Row>,
    pub quota: Vec<Row>,
    pub booked: Vec<Row>,
    pub clock: Vec<Row>,
    pub pages: Vec<Row>,
    pub asked_servers: Vec<Row>,
    pub asked_closures: Vec<Row>,
    pub asked_booked: Vec<Row>,
}

/// Begins a transaction, or goes on with one that has begun, locks in the global order, and reads.
/// `partition` is the one whose due reservations are loaded.
pub async fn load(
    client: &ClientWrapper,
    partition: Option<i32>,
    needs: &Needs,
    users: Users<'_>,
) -> Result<Snapshot, StoreError> {
    let statements = Statements::prepare(client).await?;
    let loaded = send_all(client, &statements, partition, needs, users).await?;
    snapshot::assemble(&loaded, partition, needs)
}

/// Sends the statements in this order: locks first, then what is read under them, the clock behind
/// all that decides.
async fn send_all(
    client: &ClientWrapper,
    on: &Statements,
    partition: Option<i32>,
    needs: &Needs,
    users: Users<'_>,
) -> Result<Loaded, StoreError> {
    let columns = Columns::of(needs);
    let Columns { terminals, requesting, servers, reservations, ids, .. } = &columns;
    let Columns { quota, windows, pages, calendars, .. } = &columns;
    let due = needs.due;
    let requests = !requesting.is_empty();
    let changes = !reservations.is_empty() || due.is_some();
    let locks = changes || !servers.is_empty();
    let (lists, asks) = (!pages.0.is_empty(), !calendars.0.is_empty());
    let place: [Param<'_>; 3] = [&partition, &due, &SETTLE_MAX];
    let [p, d, most] = place;

    let begun = send(run(client, "begin")).await;
    let servers =
        send(rows(client, locks, &on.lock_servers, [servers, reservations, p, d, most])).await;
    let reservations =
        send(rows(client, changes, &on.lock_reservations, [reservations, p, d, most])).await;
    let users = send(load_users(client, on, requesting, users)).await;
    let known = send(rows(client, !ids.0.is_empty(), &on.load_known, [&ids.0, &ids.1])).await;
    let terminals =
        send(rows(client, !terminals.is_empty(), &on.load_terminals, [terminals])).await;
    let closures =
        send(rows(client, requests, &on.load_closures, [&windows.0, &windows.1, &windows.2])).await;
    let quota = send(rows(client, requests, &on.load_quota, [&quota.0, &quota.1, &quota.2])).await;
    let booked =
        send(rows(client, requests, &on.load_booked, [&windows.0, &windows.1, &windows.2])).await;
    let clock = send(rows(client, true, &on.load_clock, [])).await;
    let (index, after, limits) = (&pages.0, &pages.2, &pages.3);
    let pages = send(rows(client, lists, &on.load_pages, [index, &pages.1, after, limits])).await;
    let (index, about, from, until) = calendars;
    let asked_servers = send(rows(client, asks, &on.load_servers, [about])).await;
    let asked_closures = send(rows(client, asks, &on.load_closures, [about, from, until])).await;
    let asked = [index as Param<'_>, about, from, until, &CALENDAR_MAX];
    let asked_booked = send(rows(client, asks, &on.load_calendars, asked)).await;

    begun.answer().await?;
    Ok(Loaded {
        servers: servers.answer().await?,
        reservations: reservations.answer().await?,
        users: users.answer().await?,
        known: known.answer().await?,
        terminals: terminals.answer().await?,
        closures: closures.answer().await?,
        quota: quota.answer().await?,
        booked: booked.answer().await?,
        clock: clock.answer().await?,
        pages: pages.answer().await?,
        asked_servers: asked_servers.answer().await?,
        asked_closures: asked_closures.answer().await?,
        asked_booked: asked_booked.answer().await?,
    })
}

/// Use of holds by users, of whom some may have to be locked first.
async fn load_users(
    client: &ClientWrapper,
    on: &Statements,
    requesting: &Vec<&str>,
    users: Users<'_>,
) -> Result<Vec<Row>, StoreError> {
    match users {
        Users::Unlocked => rows(client, !requesting.is_empty(), &on.load_users, [requesting]).await,
        Users::Locked(named) => {
            let named: Vec<&str> = named.iter().map(UserId::as_str).collect();
            rows(client, true, &on.lock_users, [requesting, &named]).await
        }
    }
}

/// What is needed as the statements take it: a column of each list, side by side.
struct Columns<'a> {
    terminals: Vec<&'a str>,
    requesting: Vec<&'a str>,
    servers: Vec<&'a str>,
    reservations: Vec<Uuid>,
    ids: (Vec<&'a str>, Vec<&'a str>),
    quota: (Vec<&'a str>, Vec<Timestamp>, Vec<Timestamp>),
    windows: (Vec<&'a str>, Vec<Timestamp>, Vec<Timestamp>),
    pages: (Vec<i32>, Vec<&'a str>, Vec<Option<Uuid>>, Vec<i64>),
    calendars: (Vec<i32>, Vec<&'a str>, Vec<Timestamp>, Vec<Timestamp>),
}

impl<'a> Columns<'a> {
    fn of(needs: &'a Needs) -> Self {
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
