//! Reads what queries are answered from, in one round trip of a read-only transaction. It may run on a
//! standby.

use std::collections::{BTreeSet, HashMap};

use crate::store::pool::Pool;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::StoreError;
use super::load::span_params;
use super::needs::Spans;
use super::pool::{Session, bounded};
use super::rows::{interval, read_access, read_reservation};
use super::sequence::{Param, rows, run, send};
use super::snapshot::{servers, terminals};
use super::statements;
use crate::domain::id::TerminalId;
use crate::domain::query::{Asked, Calendar, Listed, Page, Query, View, Window};

/// Most reservations read for one `availability` query beyond twice the server's capacity; more than an
/// answer can hold.
const CALENDAR_MAX: i64 = 1_000;

statements!(
    load_view_clock,
    load_terminals,
    load_listed,
    load_pages,
    load_servers,
    load_closures,
    load_calendars,
);

/// Where queries are answered from.
pub struct ReadPool {
    /// Connections.
    pub pool: Pool,
    /// Whether they may lead to a standby. Otherwise one that does was opened before a failover.
    pub standby: bool,
}

/// Reads what these queries ask for.
pub async fn load_view(from: &ReadPool, queries: &[&Query]) -> Result<View, StoreError> {
    let view = bounded("reading for queries", async {
        let session = Session::take(&from.pool).await?;
        let wanted = Wanted::of(queries);
        let (view, is_read_only) = load(session.client(), &wanted).await?;
        session.finish();
        if is_read_only && !from.standby { Err(StoreError::ReadOnly) } else { Ok(view) }
    })
    .await;
    if view.as_ref().is_err_and(StoreError::is_read_only) {
        // The pooled connections lead to this server; new ones find the primary.
        from.pool.retain(|_, _| false);
    }
    view
}

/// What is asked for, each once.
#[derive(Default)]
struct Wanted {
    terminals: BTreeSet<TerminalId>,
    reservations: BTreeSet<Uuid>,
    pages: Vec<(TerminalId, Page)>,
    calendars: Vec<Window>,
}

impl Wanted {
    fn of(queries: &[&Query]) -> Self {
        let mut wanted = Self::default();
        for query in queries {
            wanted.terminals.insert(query.terminal.clone());
            match &query.asked {
                Asked::Reservation(id) => {
                    wanted.reservations.insert(*id);
                }
                Asked::Page(page) => push_once(&mut wanted.pages, (query.terminal.clone(), *page)),
                Asked::Availability(window) => push_once(&mut wanted.calendars, window.clone()),
            }
        }
        wanted
    }
}

fn push_once<T: PartialEq>(asked: &mut Vec<T>, query: T) {
    if !asked.contains(&query) {
        asked.push(query);
    }
}

/// Pages as parallel arrays, for the statement.
#[derive(Default)]
struct Pages<'a> {
    indexes: Vec<i32>,
    terminals: Vec<&'a str>,
    after: Vec<Option<Uuid>>,
    limits: Vec<i64>,
}

impl<'a> Pages<'a> {
    fn of(pages: &'a [(TerminalId, Page)]) -> Self {
        let mut columns = Self::default();
        for (index, (terminal, page)) in (0..).zip(pages) {
            columns.indexes.push(index);
            columns.terminals.push(terminal.as_str());
            columns.after.push(page.after);
            columns.limits.push(i64::try_from(page.limit).unwrap_or(i64::MAX));
        }
        columns
    }
}

/// What the statements answered.
struct Loaded {
    clock: Vec<Row>,
    terminals: Vec<Row>,
    listed: Vec<Row>,
    pages: Vec<Row>,
    servers: Vec<Row>,
    closures: Vec<Row>,
    booked: Vec<Row>,
}

/// The view, and whether its server is read-only.
async fn load(client: &ClientWrapper, wanted: &Wanted) -> Result<(View, bool), StoreError> {
    let statements = Statements::prepare(client).await?;
    let loaded = send_all(client, &statements, wanted).await?;
    assemble(&loaded, wanted)
}

/// The clock is read before the transaction takes its snapshot, so that it promises no more than that has.
async fn send_all(
    client: &ClientWrapper,
    on: &Statements,
    wanted: &Wanted,
) -> Result<Loaded, StoreError> {
    let names: Vec<&str> = wanted.terminals.iter().map(TerminalId::as_str).collect();
    let ids: Vec<Uuid> = wanted.reservations.iter().copied().collect();
    let pages = Pages::of(&wanted.pages);
    let indexes: Vec<i32> = (0..).take(wanted.calendars.len()).collect();
    let mut calendars = Spans::default();
    for window in &wanted.calendars {
        calendars.push(window.server.as_str(), window.interval);
    }
    let [of, from, until] = span_params(&calendars);
    let (shows, lists, asks) = (!ids.is_empty(), !pages.indexes.is_empty(), !indexes.is_empty());

    let clock = send(rows(client, true, &on.load_view_clock, [])).await?;
    let begun = send(run(client, "begin isolation level repeatable read, read only")).await?;
    let terminals = send(rows(client, true, &on.load_terminals, [&names])).await?;
    let listed = send(rows(client, shows, &on.load_listed, [&ids])).await?;
    let pages = [&pages.indexes as Param<'_>, &pages.terminals, &pages.after, &pages.limits];
    let pages = send(rows(client, lists, &on.load_pages, pages)).await?;
    let servers = send(rows(client, asks, &on.load_servers, [of])).await?;
    let closures = send(rows(client, asks, &on.load_closures, [of, from, until])).await?;
    let booked = [&indexes as Param<'_>, of, from, until, &CALENDAR_MAX];
    let booked = send(rows(client, asks, &on.load_calendars, booked)).await?;
    let ended = send(run(client, "commit")).await?;

    let clock = clock.answer().await?;
    begun.answer().await?;
    let loaded = Loaded {
        clock,
        terminals: terminals.answer().await?,
        listed: listed.answer().await?,
        pages: pages.answer().await?,
        servers: servers.answer().await?,
        closures: closures.answer().await?,
        booked: booked.answer().await?,
    };
    ended.answer().await?;
    Ok(loaded)
}

fn assemble(loaded: &Loaded, wanted: &Wanted) -> Result<(View, bool), StoreError> {
    let clock = loaded.clock.first().ok_or_else(|| StoreError::Unexpected("no clock".into()))?;
    let mut reservations = HashMap::new();
    for row in &loaded.listed {
        let listed = read_listed(row)?;
        reservations.insert(listed.reservation.id, listed);
    }
    let view = View {
        now: clock.try_get(0)?,
        as_of: clock.try_get(1)?,
        terminals: terminals(&loaded.terminals)?,
        reservations,
        pages: read_pages(wanted, &loaded.pages)?,
        calendars: read_calendars(wanted, loaded)?,
    };
    Ok((view, clock.try_get(2)?))
}

fn read_listed(row: &Row) -> Result<Listed, StoreError> {
    Ok(Listed {
        reservation: read_reservation(row)?,
        connection_url: row.try_get("connection_url")?,
        view_url: row.try_get("view_url")?,
        access: read_access(row)?,
        note: row.try_get("note")?,
        credited: row.try_get("credited")?,
    })
}

/// The query that a row answers.
fn asked<'a, T>(queries: &'a [T], row: &Row) -> Result<&'a T, StoreError> {
    let index: i32 = row.try_get("query")?;
    let query = usize::try_from(index).ok().and_then(|index| queries.get(index));
    query.ok_or_else(|| StoreError::Unexpected(format!("query {index}")))
}

fn read_pages(
    wanted: &Wanted,
    rows: &[Row],
) -> Result<HashMap<(TerminalId, Page), Vec<Listed>>, StoreError> {
    let mut pages: HashMap<_, Vec<Listed>> = HashMap::new();
    for row in rows {
        let page = asked(&wanted.pages, row)?.clone();
        pages.entry(page).or_default().push(read_listed(row)?);
    }
    Ok(pages)
}

fn read_calendars(
    wanted: &Wanted,
    loaded: &Loaded,
) -> Result<HashMap<Window, Calendar>, StoreError> {
    let known = servers(&loaded.servers, &loaded.closures)?;
    let mut calendars = HashMap::new();
    for window in &wanted.calendars {
        if let Some(server) = known.get(&window.server) {
            let server = server.clone();
            let calendar = Calendar { server, busy: Vec::new(), complete_until: None };
            calendars.insert(window.clone(), calendar);
        }
    }
    for row in &loaded.booked {
        let window = asked(&wanted.calendars, row)?;
        let Some(calendar) = calendars.get_mut(window) else { continue };
        let busy = interval(row, "start_at", "busy_until")?;
        calendar.busy.push(busy);
        let most: i64 = row.try_get("most")?;
        if calendar.busy.len() as i64 >= most {
            calendar.complete_until = Some(busy.start);
        }
    }
    Ok(calendars)
}
