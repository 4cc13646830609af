//! From loaded rows to the snapshot of a batch.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;

use super::error::StoreError;
use super::needs::{Needs, SETTLE_MAX};
use super::rows::{id, interval, read_reservation, read_server};
use crate::domain::id::{ServerId, TerminalId, UserId};
use crate::domain::interval::Timestamp;
use crate::domain::outcome::Stored;
use crate::domain::quota::{PeriodUse, QuotaLedger};
use crate::domain::server::Server;
use crate::domain::snapshot::{Booked, HoldUse, Known, Move, Snapshot, Terminal};

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
}

pub(super) fn assemble(
    loaded: &Loaded,
    partition: Option<i32>,
    needs: &Needs,
) -> Result<Snapshot, StoreError> {
    let clock = loaded.clock.first().ok_or_else(|| StoreError::Unexpected("no clock".into()))?;
    if clock.try_get(1)? {
        return Err(StoreError::ReadOnly);
    }
    let mut snapshot = Snapshot {
        now: clock.try_get(0)?,
        partition,
        terminals: terminals(&loaded.terminals)?,
        servers: servers(&loaded.servers, &loaded.closures)?,
        quota: quota(&loaded.quota)?,
        holds: holds(&loaded.users)?,
        booked: booked(&loaded.booked)?,
        reservations: HashMap::new(),
        due: Vec::new(),
        due_complete_before: None,
        to_remind: Vec::new(),
        moves: moves(&loaded.servers)?,
        known: known(&loaded.known)?,
    };
    read_reservations(&mut snapshot, &loaded.reservations, needs.due)?;
    Ok(snapshot)
}

pub(super) fn servers(
    rows: &[Row],
    closures: &[Row],
) -> Result<HashMap<ServerId, Server>, StoreError> {
    let mut servers = HashMap::new();
    for row in rows {
        let server = read_server(row)?;
        servers.insert(server.id.clone(), server);
    }
    for row in closures {
        if let Some(server) = servers.get_mut(&id::<ServerId>(row, "server_id")?) {
            server.closures.push(interval(row, "start_at", "end_at")?);
        }
    }
    Ok(servers)
}

pub(super) fn terminals(rows: &[Row]) -> Result<HashMap<TerminalId, Terminal>, StoreError> {
    let terminal = |row: &Row| {
        let terminal = Terminal { user: id(row, "user_id")?, enabled: row.try_get("enabled")? };
        Ok((id(row, "id")?, terminal))
    };
    rows.iter().map(terminal).collect()
}

/// Of the locked servers. A row of a move that is over by then is harmless: its server is elsewhere.
fn moves(rows: &[Row]) -> Result<HashMap<ServerId, Move>, StoreError> {
    let mut moves = HashMap::new();
    for row in rows {
        if let Some(fence) = row.try_get("fence")? {
            let to = row.try_get("to_partition")?;
            let both = row.try_get::<_, &str>("phase")? == "binding";
            moves.insert(id(row, "id")?, Move { fence, to, both });
        }
    }
    Ok(moves)
}

fn holds(rows: &[Row]) -> Result<HashMap<UserId, HoldUse>, StoreError> {
    let hold_use = |row: &Row| {
        let hold_use = HoldUse { count: row.try_get("holds")?, max: row.try_get("holds_max")? };
        Ok((id(row, "id")?, hold_use))
    };
    rows.iter().map(hold_use).collect()
}

fn quota(rows: &[Row]) -> Result<QuotaLedger, StoreError> {
    let mut quota = QuotaLedger::default();
    for row in rows {
        let period = PeriodUse {
            bounds: interval(row, "period_start", "period_end")?,
            limit_seconds: row.try_get("limit_seconds")?,
            used_seconds: row.try_get("used_seconds")?,
        };
        quota.load(id(row, "user_id")?, period);
    }
    Ok(quota)
}

/// A reservation that overlaps two windows counts once.
fn booked(rows: &[Row]) -> Result<HashMap<ServerId, Vec<Booked>>, StoreError> {
    let mut booked: HashMap<ServerId, Vec<Booked>> = HashMap::new();
    let mut seen = HashSet::new();
    for row in rows {
        let booking =
            Booked { id: row.try_get("id")?, busy: interval(row, "start_at", "busy_until")? };
        if seen.insert(booking.id) {
            booked.entry(id(row, "server_id")?).or_default().push(booking);
        }
    }
    Ok(booked)
}

fn known(rows: &[Row]) -> Result<HashMap<(TerminalId, String), Known>, StoreError> {
    let known = |row: &Row| {
        let digest: &[u8] = row.try_get("digest")?;
        let stored = Stored {
            digest: digest
                .try_into()
                .map_err(|_| StoreError::Unexpected("digest of another length".into()))?,
            answer_type: row.try_get("answer_type")?,
            answer: row.try_get("answer")?,
        };
        Ok(((id(row, "terminal_id")?, row.try_get("message_id")?), Known::Stored(stored)))
    };
    rows.iter().map(known).collect()
}

fn read_reservations(
    snapshot: &mut Snapshot,
    rows: &[Row],
    due: Option<Timestamp>,
) -> Result<(), StoreError> {
    let mut incomplete: Option<Timestamp> = None;
    let mut leave_from = |deadline: Timestamp| {
        incomplete = Some(incomplete.map_or(deadline, |earlier| earlier.min(deadline)));
    };
    for row in rows {
        let reservation = read_reservation(row)?;
        let settles = due.is_some_and(|due| reservation.deadline_at <= due);
        if settles
            && reservation.state.is_unsettled()
            && Some(row.try_get::<_, i32>("partition")?) == snapshot.partition
        {
            if snapshot.servers.contains_key(&reservation.server) {
                snapshot.due.push(reservation.id);
            } else {
                // A former owner settled the slice whose servers are locked here. The next wake-up locks
                // the servers of these and settles them.
                leave_from(reservation.deadline_at);
            }
        }
        let picked: i64 = row.try_get("picked_count")?;
        if picked >= SETTLE_MAX {
            leave_from(row.try_get("picked_until")?);
        }
        if due.is_some() && reservation.remind_at.is_some_and(|at| Some(at) <= due) {
            snapshot.to_remind.push(reservation.id);
        }
        let reminded: i64 = row.try_get("reminded_count")?;
        if reminded >= SETTLE_MAX {
            leave_from(row.try_get("reminded_until")?);
        }
        snapshot.reservations.insert(reservation.id, reservation);
    }
    snapshot.due_complete_before = incomplete;
    let reservations = &snapshot.reservations;
    snapshot.due.sort_unstable_by_key(|id| (reservations[id].deadline_at, *id));
    Ok(())
}
