//! Keeps the plan up to date, and records what was seen.
//!
//! One connection. Changes are read every half second, everything every minute; a notification only makes it
//! sooner. A gate that loses the database goes on with what it knows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::checks::Check;
use super::plan_file;
use super::state::Gate;
use super::usage::Batch;
use crate::backoff;
use crate::domain::admission::plan::Plan;
use crate::store::admissions::{self, Connection};
use crate::store::error::StoreError;
use crate::store::pool;

/// Time between two looks at what has changed.
const CHANGES_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two loads of everything: what left the plan, or was changed on the server, is noticed then.
const LOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Time between two records of what was seen, and between two writings of the plan's file.
const RECORD_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until `stop`; fails if only an operator can help.
pub async fn run(gate: Arc<Gate>, stop: CancellationToken) -> Result<(), StoreError> {
    let settings = pool::settings(&gate.settings.database)
        .named(&format!("gate {}", gate.settings.server))
        .writable();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let began = Instant::now();
        let outcome = async {
            let connection = Connection::open(&settings).await?;
            session(&gate, &connection, &stop).await
        };
        let Err(error) = outcome.await else { break };
        if admissions::is_set_up_wrong(&error) && gate.known().plan.is_none() {
            return Err(error);
        }
        if gate.checks.wrong(Check::Database, &error) {
            warn!(%error, "the database cannot be asked; going on with what is known");
        }
        failures = if began.elapsed() > LOAD_INTERVAL { 0 } else { failures + 1 };
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(backoff::full_jitter(failures)) => {}
        }
    }
    Ok(())
}

async fn session(
    gate: &Gate,
    connection: &Connection,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let (mut loaded, mut recorded) = (None::<Instant>, None::<Instant>);
    loop {
        let due = |last: Option<Instant>, interval| last.is_none_or(|at| at.elapsed() >= interval);
        if due(loaded, LOAD_INTERVAL) {
            load(gate, connection).await?;
            loaded = Some(Instant::now());
        } else {
            load_changes(gate, connection).await?;
        }
        if gate.checks.good(Check::Database) {
            info!("the database answers");
        }
        let last = stop.is_cancelled();
        if last || due(recorded, RECORD_INTERVAL) {
            record(gate, connection).await?;
            keep_plan(gate);
            recorded = Some(Instant::now());
        }
        if last {
            return Ok(());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = connection.changed() => {}
            () = sleep(CHANGES_INTERVAL) => {}
        }
    }
}

/// Everything. The time is read first: what is committed until then is in the rows.
async fn load(gate: &Gate, connection: &Connection) -> Result<(), StoreError> {
    let as_of = admissions::clock(connection).await?;
    gate.clock.note(as_of);
    let entries = admissions::load(connection, &gate.settings.server).await?;
    let plan = Plan::new(as_of, entries);
    let first = {
        let mut known = gate.known();
        known.plan.replace(plan.clone()).is_none()
    };
    if first {
        let reservations = plan.entries().count();
        info!(server = %gate.settings.server, reservations, "the plan is loaded");
    }
    gate.look_at_plan();
    gate.changed.notify_one();
    Ok(())
}

async fn load_changes(gate: &Gate, connection: &Connection) -> Result<(), StoreError> {
    let as_of = admissions::clock(connection).await?;
    gate.clock.note(as_of);
    let changed = admissions::load_changed(connection, &gate.settings.server).await?;
    let different = match &mut gate.known().plan {
        Some(plan) => plan.merge(as_of, changed),
        None => false,
    };
    gate.look_at_plan();
    if different {
        gate.changed.notify_one();
    }
    Ok(())
}

async fn record(gate: &Gate, connection: &Connection) -> Result<(), StoreError> {
    let batch = gate.known().usage.batch();
    if batch == Batch::default() {
        return Ok(());
    }
    let (server, name) = (&gate.settings.server, gate.settings.name.as_str());
    let seen: Vec<_> = batch.sessions.iter().map(|(_, seen)| seen.clone()).collect();
    match admissions::upsert_use(connection, name, &seen).await {
        Err(error) if admissions::is_unrecordable(&error) => {
            warn!(%error, sessions = seen.len(), "what was used is not recorded");
            gate.known().usage.discard(&batch);
        }
        outcome => outcome?,
    }
    match admissions::upsert_coverage(connection, server, name, &batch.watches).await {
        Err(error) if admissions::is_unrecordable(&error) => {
            let before = std::mem::replace(&mut gate.known().server_unknown, true);
            if !before {
                warn!(%server, "unknown to the database. List servers with `holdfast server list`");
            }
        }
        outcome => {
            outcome?;
            let mut known = gate.known();
            known.server_unknown = false;
            known.usage.written(&batch);
        }
    }
    Ok(())
}

fn keep_plan(gate: &Gate) {
    let Some(path) = &gate.settings.plan_file else { return };
    let (plan, now) = (gate.known().plan.clone(), gate.clock.now());
    let (Some(plan), Some(now)) = (plan, now) else { return };
    if let Err(error) = plan_file::write(path, &gate.settings.server, now, &plan) {
        warn!(%error, path = %path.display(), "the plan's file is not written");
    }
}
