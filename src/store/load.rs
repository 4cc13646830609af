//! Locks and reads everything that a batch is decided against, in one round trip.
//!
//! READ COMMITTED gives each statement its own snapshot, so what is read after the locks sees all
//! that their earlier holders committed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

use super::error::StoreError;
use super::statements;
use crate::domain::id::{ServerId, TerminalId, UserId};
use crate::domain::interval::{Interval, Timestamp};
use crate::domain::quota::{PeriodUse, QuotaLedger};
use crate::domain::reservation::Reservation;
use crate::domain::server::Server;
use crate::domain::snapshot::{
    Action, Booked, Calendar, Command, HoldUse, Known, Listed, Snapshot, Step, Stored, Terminal,
};
use crate::domain::tariff::Tariff;

/// Most reservations that one batch settles; the rest waits for a fresh wake-up, so that commands
/// in between wait for little: with four partitions and 100 000 reservations at once, on a machine of
/// two processors, 0.8 s at the 99th percentile. Slices of 400 settle no more per second.
pub const SETTLE_MAX: i64 = 150;

/// No server takes longer reservations (a CHECK says the same). Longer requests are refused
/// without looking at the calendar.
const RESERVATION_SECONDS_MAX: i64 = 2_678_400;

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
    /// Locked first, those who request something and those named: what is refused for want of quota or
    /// holds is refused by what is so. Named are those whose use the batch changes otherwise: locked
    /// later, when it is written, two batches could wait for each other.
    Locked(&'a [String]),
}

/// What the steps of a batch name.
#[derive(Default)]
struct Needs {
    terminals: BTreeSet<String>,
    requesting: BTreeSet<String>,
    servers: BTreeSet<String>,
    reservations: BTreeSet<Uuid>,
    keys: (Vec<String>, Vec<String>),
    quota: (Vec<String>, Vec<Timestamp>, Vec<Timestamp>),
    windows: HashMap<String, Vec<Interval>>,
    pages: (Vec<i32>, Vec<String>, Vec<Option<Uuid>>, Vec<i64>),
    calendars: (Vec<i32>, Vec<String>, Vec<Timestamp>, Vec<Timestamp>),
    due: Option<Timestamp>,
}

impl Needs {
    fn of(steps: &[Step]) -> Self {
        let mut needs = Self::default();
        for (index, step) in (0..).zip(steps) {
            match step {
                Step::WakeUp(wake_up) if wake_up.scheduled_until >= wake_up.due_at => {
                    needs.due = needs.due.max(Some(wake_up.due_at));
                }
                Step::WakeUp(_) => {}
                Step::Command(command) => needs.add(index, command),
                Step::Cancel(wish) => {
                    needs.reservations.insert(wish.reservation);
                }
            }
        }
        needs
    }

    fn add(&mut self, index: i32, command: &Command) {
        let terminal = command.terminal.to_string();
        if !command.action.is_query() {
            self.keys.0.push(terminal.clone());
            self.keys.1.push(command.message_id.clone());
        }
        match &command.action {
            Action::Request { interval, .. } => {
                let server = command.server.as_ref().map(ServerId::to_string).unwrap_or_default();
                self.servers.insert(server.clone());
                self.requesting.insert(terminal.clone());
                if interval.seconds() <= RESERVATION_SECONDS_MAX {
                    self.quota.0.push(terminal.clone());
                    self.quota.1.push(interval.start);
                    self.quota.2.push(interval.end);
                    self.windows.entry(server).or_default().push(*interval);
                }
            }
            Action::Reconfirm(id) | Action::Withdraw(id) | Action::Show(id) => {
                self.reservations.insert(*id);
            }
            Action::List { after, limit } => {
                self.pages.0.push(index);
                self.pages.1.push(terminal.clone());
                self.pages.2.push(*after);
                self.pages.3.push(i64::try_from(*limit).unwrap_or(i64::MAX));
            }
            Action::Availability { server, window } => {
                self.calendars.0.push(index);
                self.calendars.1.push(server.to_string());
                self.calendars.2.push(window.start);
                self.calendars.3.push(window.end);
            }
        }
        self.terminals.insert(terminal);
    }

    /// Requested times side by side, overlapping ones of a server merged, so that a popular hour
    /// is read once and not once per request.
    fn merged_windows(&mut self) -> (Vec<String>, Vec<Timestamp>, Vec<Timestamp>) {
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        for (server, windows) in &mut self.windows {
            windows.sort_unstable();
            let mut merged: Vec<Interval> = Vec::new();
            for window in windows.iter() {
                match merged.last_mut() {
                    Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
                    _ => merged.push(*window),
                }
            }
            for window in merged {
                columns.0.push(server.clone());
                columns.1.push(window.start);
                columns.2.push(window.end);
            }
        }
        columns
    }
}

/// Runs one statement if there is anything to ask; the first poll sends it, so that joined calls
/// share a round trip and are executed in the order in which they were joined.
async fn rows(
    client: &ClientWrapper,
    wanted: bool,
    statement: &Statement,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    if !wanted {
        return Ok(Vec::new());
    }
    Ok(client.query(statement, params).await?)
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

/// Begins a transaction, or goes on with one that has begun, locks in the global order, and reads.
pub async fn load(
    client: &ClientWrapper,
    partition: i32,
    steps: &[Step],
    users: Users<'_>,
) -> Result<Snapshot, StoreError> {
    let mut needs = Needs::of(steps);
    let windows = needs.merged_windows();
    let terminals: Vec<&String> = needs.terminals.iter().collect();
    let requesting: Vec<&String> = needs.requesting.iter().collect();
    let servers: Vec<&String> = needs.servers.iter().collect();
    let reservations: Vec<Uuid> = needs.reservations.iter().copied().collect();
    let (due, quota) = (needs.due, &needs.quota);
    let touches = !servers.is_empty() || !reservations.is_empty() || due.is_some();
    let asks = !requesting.is_empty();

    let statements = Statements::prepare(client).await?;
    // A block sends its statement when it is first polled, so they go out in this order.
    macro_rules! ask {
        ($wanted:expr, $statement:expr $(, $param:expr)*) => {
            async { rows(client, $wanted, $statement, &[$(&$param),*]).await }
        };
    }
    let named = (&needs.keys.0, &needs.keys.1);
    let (pages, asked) = (&needs.pages, &needs.calendars);
    let (lists, calendars) = (!pages.0.is_empty(), !asked.0.is_empty());
    let changes = !reservations.is_empty() || due.is_some();
    let (_, servers, reservations, holds, known, terminals, closures, used, booked, clock, queried) =
        futures::try_join!(
            async { client.batch_execute("begin").await.map_err(StoreError::from) },
            ask!(
                touches,
                &statements.lock_servers,
                servers,
                reservations,
                partition,
                due,
                SETTLE_MAX
            ),
            ask!(changes, &statements.lock_reservations, reservations, partition, due, SETTLE_MAX),
            async {
                match users {
                    Users::Unlocked => ask!(asks, &statements.load_users, requesting).await,
                    Users::Locked(named) => {
                        ask!(true, &statements.lock_users, requesting, named).await
                    }
                }
            },
            ask!(!named.0.is_empty(), &statements.load_known, named.0, named.1),
            ask!(!terminals.is_empty(), &statements.load_terminals, terminals),
            ask!(asks, &statements.load_closures, windows.0, windows.1, windows.2),
            ask!(asks, &statements.load_quota, quota.0, quota.1, quota.2),
            ask!(asks, &statements.load_booked, windows.0, windows.1, windows.2),
            ask!(true, &statements.load_clock),
            async {
                futures::try_join!(
                    ask!(lists, &statements.load_pages, pages.0, pages.1, pages.2, pages.3),
                    ask!(calendars, &statements.load_servers, asked.1),
                    ask!(calendars, &statements.load_closures, asked.1, asked.2, asked.3),
                    ask!(
                        calendars,
                        &statements.load_calendars,
                        asked.0,
                        asked.1,
                        asked.2,
                        asked.3,
                        CALENDAR_MAX
                    ),
                )
            },
        )?;

    let clock = clock.first().ok_or_else(|| StoreError::Unexpected("no clock".into()))?;
    if clock.try_get(1)? {
        return Err(StoreError::ReadOnly);
    }
    let mut world = Snapshot {
        now: clock.try_get(0)?,
        partition,
        terminals: HashMap::new(),
        servers: HashMap::new(),
        quota: QuotaLedger::default(),
        holds: HashMap::new(),
        booked: HashMap::new(),
        reservations: HashMap::new(),
        due: Vec::new(),
        due_complete_before: None,
        to_remind: Vec::new(),
        pages: HashMap::new(),
        calendars: HashMap::new(),
        known: HashMap::new(),
    };
    read_registry(&mut world, &servers, &closures, &terminals)?;
    read_reservations(&mut world, &reservations, partition, due)?;
    read_use(&mut world, &holds, &used, &booked)?;
    read_known(&mut world, &known)?;
    let (pages, servers, closures, booked) = queried;
    read_pages(&mut world, &pages)?;
    read_calendars(&mut world, &needs, &servers, &closures, &booked)?;
    Ok(world)
}

/// Reads an id; the schema's CHECKs hold the same form as the types.
fn id<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Unexpected(format!("{column} {text:?}")))
}

fn interval(row: &Row, start: &str, end: &str) -> Result<Interval, StoreError> {
    let (start, end) = (row.try_get(start)?, row.try_get(end)?);
    Interval::new(start, end)
        .ok_or_else(|| StoreError::Unexpected(format!("interval from {start} to {end}")))
}

fn read_registry(
    world: &mut Snapshot,
    servers: &[Row],
    closures: &[Row],
    terminals: &[Row],
) -> Result<(), StoreError> {
    for row in servers {
        let server = read_server(row)?;
        world.servers.insert(server.id.clone(), server);
    }
    for row in closures {
        let server: ServerId = id(row, "server_id")?;
        if let Some(server) = world.servers.get_mut(&server) {
            server.closures.push(interval(row, "start_at", "end_at")?);
        }
    }
    for row in terminals {
        let terminal = Terminal { user: id(row, "user_id")?, enabled: row.try_get("enabled")? };
        world.terminals.insert(id(row, "id")?, terminal);
    }
    Ok(())
}

/// Reads a row of `servers`; closures are kept elsewhere.
pub(super) fn read_server(row: &Row) -> Result<Server, StoreError> {
    let seconds = |column| row.try_get::<_, i32>(column).map(i64::from);
    let capacity: i32 = row.try_get("capacity")?;
    Ok(Server {
        id: id(row, "id")?,
        capacity: usize::try_from(capacity)
            .map_err(|_| StoreError::Unexpected(format!("capacity {capacity}")))?,
        open: row.try_get("open")?,
        tariff: Tariff {
            rate_minor: row.try_get("rate_minor")?,
            currency: row.try_get("currency")?,
            version: row.try_get("tariff_version")?,
        },
        slot_seconds: seconds("slot_seconds")?,
        min_seconds: seconds("min_seconds")?,
        max_seconds: seconds("max_seconds")?,
        gap_seconds: seconds("gap_seconds")?,
        lead_seconds: seconds("lead_seconds")?,
        reminder_seconds: seconds("reminder_seconds")?,
        horizon_seconds: seconds("horizon_seconds")?,
        late_booking: word("late_booking", row.try_get("late_booking")?)?,
        connection_url: row.try_get("connection_url")?,
        partition: row.try_get("partition")?,
        closures: Vec::new(),
    })
}

fn read_reservations(
    world: &mut Snapshot,
    rows: &[Row],
    partition: i32,
    due: Option<Timestamp>,
) -> Result<(), StoreError> {
    let mut incomplete = world.due_complete_before;
    let mut leave_from = |deadline: Timestamp| {
        incomplete = Some(incomplete.map_or(deadline, |earlier| earlier.min(deadline)));
    };
    for row in rows {
        let reservation = read_reservation(row)?;
        let settles = due.is_some_and(|due| reservation.deadline_at <= due);
        if settles
            && reservation.state.is_unsettled()
            && row.try_get::<_, i32>("partition")? == partition
        {
            if world.servers.contains_key(&reservation.server) {
                world.due.push(reservation.id);
            } else {
                // A former owner settled the slice whose servers we have locked. Its successors are
                // left to the next wake-up, which locks theirs.
                leave_from(reservation.deadline_at);
            }
        }
        let picked: i64 = row.try_get("picked_count")?;
        if picked >= SETTLE_MAX {
            leave_from(row.try_get("picked_until")?);
        }
        if due.is_some() && reservation.remind_at.is_some_and(|at| Some(at) <= due) {
            world.to_remind.push(reservation.id);
        }
        let reminded: i64 = row.try_get("reminded_count")?;
        if reminded >= SETTLE_MAX {
            leave_from(row.try_get("reminded_until")?);
        }
        world.reservations.insert(reservation.id, reservation);
    }
    world.due_complete_before = incomplete;
    let reservations = &world.reservations;
    world.due.sort_unstable_by_key(|id| (reservations[id].deadline_at, *id));
    Ok(())
}

/// Reads one of a closed list of words.
fn word<T: FromStr>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Unexpected(format!("{column} {text:?}")))
}

/// Reads a row of `reservations`.
pub(super) fn read_reservation(row: &Row) -> Result<Reservation, StoreError> {
    let reason: Option<&str> = row.try_get("cancel_reason")?;
    Ok(Reservation {
        id: row.try_get("id")?,
        terminal: id(row, "terminal_id")?,
        message_id: row.try_get("message_id")?,
        user: id(row, "user_id")?,
        server: id(row, "server_id")?,
        interval: interval(row, "start_at", "end_at")?,
        busy_until: row.try_get("busy_until")?,
        deadline_at: row.try_get("deadline_at")?,
        remind_at: row.try_get("remind_at")?,
        reminded_at: row.try_get("reminded_at")?,
        state: word("state", row.try_get("state")?)?,
        cancel_reason: reason.map(|reason| word("cancel_reason", reason)).transpose()?,
        price_minor: row.try_get("price_minor")?,
        currency: row.try_get("currency")?,
        tariff_version: row.try_get("tariff_version")?,
        held_at: row.try_get("held_at")?,
        reconfirmed_at: row.try_get("reconfirmed_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

fn read_use(
    world: &mut Snapshot,
    holds: &[Row],
    used: &[Row],
    booked: &[Row],
) -> Result<(), StoreError> {
    for row in holds {
        let hold_use = HoldUse { count: row.try_get("holds")?, max: row.try_get("holds_max")? };
        world.holds.insert(id(row, "id")?, hold_use);
    }
    for row in used {
        let user: UserId = id(row, "user_id")?;
        let period = PeriodUse {
            bounds: interval(row, "period_start", "period_end")?,
            limit_seconds: row.try_get("limit_seconds")?,
            used_seconds: row.try_get("used_seconds")?,
        };
        world.quota.load(user, period);
    }
    // One row may overlap two windows and must count once.
    let mut seen = HashSet::new();
    for row in booked {
        let booking =
            Booked { id: row.try_get("id")?, busy: interval(row, "start_at", "busy_until")? };
        if seen.insert(booking.id) {
            world.booked.entry(id(row, "server_id")?).or_default().push(booking);
        }
    }
    Ok(())
}

fn read_pages(world: &mut Snapshot, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        let listed = Listed {
            reservation: read_reservation(row)?,
            connection_url: row.try_get("connection_url")?,
        };
        world.pages.entry(step(row)?).or_default().push(listed);
    }
    Ok(())
}

/// The index of the step that a row was asked for by.
fn step(row: &Row) -> Result<usize, StoreError> {
    let step: i32 = row.try_get("step")?;
    usize::try_from(step).map_err(|_| StoreError::Unexpected(format!("step {step}")))
}

fn read_calendars(
    world: &mut Snapshot,
    needs: &Needs,
    servers: &[Row],
    closures: &[Row],
    booked: &[Row],
) -> Result<(), StoreError> {
    let mut known: HashMap<ServerId, Server> = HashMap::new();
    for row in servers {
        let server = read_server(row)?;
        known.insert(server.id.clone(), server);
    }
    for row in closures {
        if let Some(server) = known.get_mut(&id::<ServerId>(row, "server_id")?) {
            server.closures.push(interval(row, "start_at", "end_at")?);
        }
    }
    for (index, name) in needs.calendars.0.iter().zip(&needs.calendars.1) {
        if let Some(server) = known.get(name.as_str()) {
            let calendar =
                Calendar { server: server.clone(), booked: Vec::new(), complete_until: None };
            world.calendars.insert(usize::try_from(*index).unwrap_or_default(), calendar);
        }
    }
    for row in booked {
        let Some(calendar) = world.calendars.get_mut(&step(row)?) else { continue };
        let busy = interval(row, "start_at", "busy_until")?;
        calendar.booked.push(Booked { id: row.try_get("id")?, busy });
        let most: i64 = row.try_get("most")?;
        if calendar.booked.len() as i64 >= most {
            calendar.complete_until = Some(busy.start);
        }
    }
    Ok(())
}

fn read_known(world: &mut Snapshot, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        let digest: &[u8] = row.try_get("digest")?;
        let stored = Stored {
            digest: digest
                .try_into()
                .map_err(|_| StoreError::Unexpected("digest of another length".into()))?,
            answer_type: row.try_get("answer_type")?,
            answer: row.try_get("answer")?,
        };
        let terminal: TerminalId = id(row, "terminal_id")?;
        world.known.insert((terminal, row.try_get("message_id")?), Known::Stored(stored));
    }
    Ok(())
}
