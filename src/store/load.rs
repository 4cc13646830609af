//! Locks and reads everything that a batch is decided against, in one round trip.
//!
//! READ COMMITTED gives each statement its own snapshot, so what is read after the locks sees all
//! that their earlier holders committed.

use std::collections::{BTreeSet, HashMap, HashSet};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};
use uuid::Uuid;

use super::error::StoreError;
use super::statements;
use crate::domain::id::{ServerId, TerminalId, UserId};
use crate::domain::interval::{Instant, Interval};
use crate::domain::quota::{PeriodUse, QuotaLedger};
use crate::domain::reservation::{CancelReason, Reservation, State};
use crate::domain::server::{LateBooking, Server};
use crate::domain::tariff::Tariff;
use crate::domain::world::{Action, Booked, HoldUse, Known, Step, Stored, Terminal, World};

/// Most reservations that one batch settles; the rest waits for a fresh wake-up, so that commands
/// in between are not starved and a transaction stays short.
pub const SETTLE_MAX: i64 = 2_000;

/// No server takes longer reservations (a CHECK says the same). Longer requests are refused
/// without looking at the calendar.
const RESERVATION_SECONDS_MAX: i64 = 2_678_400;

/// A world and the block of places in the decision order that its batch may use.
pub struct Loaded {
    /// What to decide against.
    pub world: World,
    /// First place of the block.
    pub first_seq: i64,
}

/// Places in a block; more than a batch can use.
pub const BLOCK_LEN: i64 = 1 << 16;

/// What the steps of a batch name.
#[derive(Default)]
struct Needs {
    terminals: BTreeSet<String>,
    requesting: BTreeSet<String>,
    servers: BTreeSet<String>,
    reservations: BTreeSet<Uuid>,
    keys: (Vec<String>, Vec<String>),
    quota: (Vec<String>, Vec<Instant>, Vec<Instant>),
    windows: HashMap<String, Vec<Interval>>,
    ripe: Option<Instant>,
}

impl Needs {
    fn of(steps: &[Step]) -> Self {
        let mut needs = Self::default();
        for step in steps {
            match step {
                Step::WakeUp(wake_up) if wake_up.armed_until >= wake_up.due_at => {
                    needs.ripe = needs.ripe.max(Some(wake_up.due_at));
                }
                Step::WakeUp(_) => {}
                Step::Command(command) => needs.add(command),
            }
        }
        needs
    }

    fn add(&mut self, command: &crate::domain::world::Command) {
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
        }
        self.terminals.insert(terminal);
    }

    /// Requested times side by side, overlapping ones of a server merged, so that a popular hour
    /// is read once and not once per request.
    fn merged_windows(&mut self) -> (Vec<String>, Vec<Instant>, Vec<Instant>) {
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
    lock_users,
    lock_reservations,
    load_known,
    load_terminals,
    load_closures,
    load_holds,
    load_quota,
    load_booked,
    load_clock,
);

/// Begins a transaction, locks in the global order, and reads.
pub async fn load(
    client: &ClientWrapper,
    partition: i32,
    steps: &[Step],
) -> Result<Loaded, StoreError> {
    let mut needs = Needs::of(steps);
    let windows = needs.merged_windows();
    let terminals: Vec<&String> = needs.terminals.iter().collect();
    let requesting: Vec<&String> = needs.requesting.iter().collect();
    let servers: Vec<&String> = needs.servers.iter().collect();
    let reservations: Vec<Uuid> = needs.reservations.iter().copied().collect();
    let (ripe, quota) = (needs.ripe, &needs.quota);
    let touches = !servers.is_empty() || !reservations.is_empty() || ripe.is_some();
    let asks = !requesting.is_empty();

    let statements = Statements::prepare(client).await?;
    // A block sends its statement when it is first polled, so they go out in this order.
    macro_rules! ask {
        ($wanted:expr, $statement:expr $(, $param:expr)*) => {
            async { rows(client, $wanted, $statement, &[$(&$param),*]).await }
        };
    }
    let named = (&needs.keys.0, &needs.keys.1);
    let (_, servers, _, reservations, known, terminals, closures, holds, used, booked, clock) = futures::try_join!(
        async { client.batch_execute("begin").await.map_err(StoreError::from) },
        ask!(touches, &statements.lock_servers, servers, reservations, partition, ripe, SETTLE_MAX),
        ask!(asks, &statements.lock_users, requesting),
        ask!(touches, &statements.lock_reservations, reservations, partition, ripe, SETTLE_MAX),
        ask!(!named.0.is_empty(), &statements.load_known, named.0, named.1),
        ask!(!terminals.is_empty(), &statements.load_terminals, terminals),
        ask!(asks, &statements.load_closures, windows.0, windows.1, windows.2),
        ask!(asks, &statements.load_holds, requesting),
        ask!(asks, &statements.load_quota, quota.0, quota.1, quota.2),
        ask!(asks, &statements.load_booked, windows.0, windows.1, windows.2),
        ask!(true, &statements.load_clock),
    )?;

    let clock = clock.first().ok_or_else(|| StoreError::Unexpected("no clock".into()))?;
    let mut world = World {
        now: clock.try_get("now")?,
        partition,
        terminals: HashMap::new(),
        servers: HashMap::new(),
        quota: QuotaLedger::default(),
        holds: HashMap::new(),
        booked: HashMap::new(),
        reservations: HashMap::new(),
        due: Vec::new(),
        due_complete_before: None,
        known: HashMap::new(),
    };
    read_registry(&mut world, &servers, &closures, &terminals)?;
    read_reservations(&mut world, &reservations, partition, ripe)?;
    read_use(&mut world, &holds, &used, &booked)?;
    read_known(&mut world, &known)?;
    let block: i64 = clock.try_get("block")?;
    Ok(Loaded { world, first_seq: block * BLOCK_LEN })
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
    world: &mut World,
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
        horizon_seconds: seconds("horizon_seconds")?,
        late_booking: match row.try_get("late_booking")? {
            "reject" => LateBooking::Reject,
            "confirm" => LateBooking::Confirm,
            other => return Err(StoreError::Unexpected(format!("late_booking {other:?}"))),
        },
        connection_url: row.try_get("connection_url")?,
        partition: row.try_get("partition")?,
        closures: Vec::new(),
    })
}

fn read_reservations(
    world: &mut World,
    rows: &[Row],
    partition: i32,
    ripe: Option<Instant>,
) -> Result<(), StoreError> {
    let mut incomplete = world.due_complete_before;
    let mut leave_from = |deadline: Instant| {
        incomplete = Some(incomplete.map_or(deadline, |earlier| earlier.min(deadline)));
    };
    for row in rows {
        let reservation = read_reservation(row)?;
        let due = ripe.is_some_and(|ripe| reservation.deadline_at <= ripe);
        if due
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
        world.reservations.insert(reservation.id, reservation);
    }
    world.due_complete_before = incomplete;
    let reservations = &world.reservations;
    world.due.sort_unstable_by_key(|id| (reservations[id].deadline_at, *id));
    Ok(())
}

/// Reads a row of `reservations`.
pub(super) fn read_reservation(row: &Row) -> Result<Reservation, StoreError> {
    let state: &str = row.try_get("state")?;
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
        state: State::ALL
            .into_iter()
            .find(|known| known.as_str() == state)
            .ok_or_else(|| StoreError::Unexpected(format!("state {state:?}")))?,
        cancel_reason: reason
            .map(|reason| {
                CancelReason::ALL
                    .into_iter()
                    .find(|known| known.as_str() == reason)
                    .ok_or_else(|| StoreError::Unexpected(format!("reason {reason:?}")))
            })
            .transpose()?,
        price_minor: row.try_get("price_minor")?,
        currency: row.try_get("currency")?,
        tariff_version: row.try_get("tariff_version")?,
        held_at: row.try_get("held_at")?,
        reconfirmed_at: row.try_get("reconfirmed_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

fn read_use(
    world: &mut World,
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

fn read_known(world: &mut World, rows: &[Row]) -> Result<(), StoreError> {
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
