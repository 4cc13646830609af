//! One transaction per batch: load, decide, render, save, commit.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::pool::Pool;
use deadpool_postgres::ClientWrapper;
use tracing::warn;
use uuid::Uuid;

use super::needs;
use super::outbox::outbox_messages;
use super::render::{Reaction, Rendered, render};
use super::spans::phase;
use super::tally::{Tally, Timings};
use crate::crash_point;
use crate::domain::access::{FIRST_EPOCH, Secrets};
use crate::domain::decide::{Decided, decide};
use crate::domain::id::{ServerId, UserId};
use crate::domain::input::Input;
use crate::domain::interval::Timestamp;
use crate::domain::outcome::{Changes, CommandOutcome, Decision, Outcome};
use crate::domain::refusal::Code;
use crate::domain::reservation::State;
use crate::domain::snapshot::Snapshot;
use crate::store::access::NewKeys;
use crate::store::error::StoreError;
use crate::store::load::{Users, load};
use crate::store::needs::Needs;
use crate::store::outbox::Pending;
use crate::store::pool::{Session, timed};
use crate::store::save::{Save, Saved, save_and_commit};

/// A batch takes milliseconds. Longer than `statement_timeout`, so that the server usually ends a stuck one
/// first.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A committed batch. `T` is what the caller keeps beside each input.
pub struct Committed<T> {
    /// Time of decision, by the database's clock.
    pub now: Timestamp,
    /// One per input.
    pub reactions: Vec<(Reaction, T)>,
    /// Instants whose wake-up is not scheduled yet, each with its partition.
    pub unscheduled: Vec<(i32, Timestamp)>,
    /// Bills and notices to publish. The relay publishes what remains.
    pub pending: Vec<Pending>,
    /// Whether there are copies of events for the relay.
    pub copies: bool,
    /// Servers of which something is newly admitted: their gates can be told.
    pub admitting: Vec<ServerId>,
    /// What was decided.
    pub tally: Tally,
    /// How long it took.
    pub timings: Timings,
}

/// Why a batch is not decided. Nothing has changed, unless the connection broke during the commit.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The input at this place names a server that is on its way to this partition. It is decided, with
    /// all that is behind it, once the server has arrived.
    #[error("input {0} is early: its server is still in another partition")]
    Early(usize),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Decides a batch in one transaction. `partition` is the batch's, `None` for an operator. What is confirmed
/// gets an access key, if there are secrets.
///
/// Users are not locked: batches of other partitions may reserve for the same users, and the guard judges
/// each batch when it writes. If a user's limit refuses something, here or in the guard, the batch is
/// decided again with all its users locked. So refusals never rest on stale counts, and limits are enforced
/// at write time. See `docs/decisions/0006-users-are-not-locked-while-deciding.md`.
pub async fn decide_batch<T: Copy>(
    pool: &Pool,
    partition: Option<i32>,
    inputs: &[(&Input, T)],
    secrets: Option<&Secrets>,
) -> Result<Committed<T>, BatchError> {
    let transaction = Transaction { pool, partition, inputs, secrets };
    let outcome = tokio::time::timeout(BATCH_TIMEOUT, transaction.run())
        .await
        .map_err(|_| StoreError::Timeout("a batch's transaction"))?;
    if matches!(&outcome, Err(BatchError::Store(error)) if error.is_read_only()) {
        // The pooled connections lead to this server; new ones find one that takes writes.
        pool.retain(|_, _| false);
    }
    outcome
}

struct Transaction<'a, T> {
    pool: &'a Pool,
    partition: Option<i32>,
    inputs: &'a [(&'a Input, T)],
    secrets: Option<&'a Secrets>,
}

impl<T: Copy> Transaction<'_, T> {
    async fn run(&self) -> Result<Committed<T>, BatchError> {
        let session = Session::take(self.pool).await?;
        let mut outcome = self.run_on(session.client()).await;
        if let Err(BatchError::Store(error)) = &outcome
            && self.inputs.len() == 1
            && error.sql_state().is_some()
            && let Err(changed) = session.check(self.pool).await
        {
            // A message is not to blame for its session: in another isolation level, say, the guard
            // refuses good ones.
            warn!(%error, %changed, "the session is to blame, not the message");
            outcome = Err(changed.into());
        }
        if !matches!(outcome, Err(BatchError::Store(_))) {
            // Committed, or rolled back because something is early.
            session.finish();
        }
        outcome
    }

    async fn run_on(&self, client: &ClientWrapper) -> Result<Committed<T>, BatchError> {
        let needs = needs::of(self.inputs.iter().map(|(input, _)| *input));
        let mut timings = Timings::default();
        let decided = self.decide(client, &needs, Users::Unlocked, &mut timings).await?;
        let users = users_of(&decided);
        let committed = if limits_decide(&decided) {
            client.batch_execute("rollback").await.map_err(StoreError::from)?;
            None
        } else {
            match self.write(client, decided, &mut timings).await {
                Err(error) if error.is_user_limit() => None,
                committed => Some(committed?),
            }
        };
        let committed = match committed {
            Some(committed) => committed,
            None => {
                let locked = Users::Locked(&users);
                let decided = self.decide(client, &needs, locked, &mut timings).await?;
                self.write(client, decided, &mut timings).await?
            }
        };
        crash_point!("committed");
        Ok(committed)
    }

    async fn decide(
        &self,
        client: &ClientWrapper,
        needs: &Needs,
        users: Users<'_>,
        timings: &mut Timings,
    ) -> Result<Decided<'_, T>, BatchError> {
        let span = phase("load");
        let loading = load(client, self.partition, needs, users);
        let snapshot = timed(&mut timings.load, loading).await?;
        span.end();
        crash_point!("loaded");
        if let Some(place) = snapshot.first_early(self.inputs.iter().map(|(input, _)| *input)) {
            client.batch_execute("rollback").await.map_err(StoreError::from)?;
            return Err(BatchError::Early(place));
        }
        let _deciding = phase("decide");
        let decided = async { decide(snapshot, self.inputs.iter().copied()) };
        Ok(timed(&mut timings.decide, decided).await)
    }

    async fn write(
        &self,
        client: &ClientWrapper,
        decided: Decided<'_, T>,
        timings: &mut Timings,
    ) -> Result<Committed<T>, StoreError> {
        let _saving = phase("save");
        let Decided { snapshot, outcomes, changes } = decided;
        let tally = Tally::of(&outcomes, &changes);
        let Rendered { commands, reactions } = render(&snapshot, outcomes);
        let messages = outbox_messages(&snapshot, &changes, self.secrets.is_some());
        let keys = self.secrets.map(|secrets| new_keys(secrets, &snapshot, &changes));
        let admitting = admitting(&snapshot, keys.as_ref());
        let save = Save {
            partition: self.partition,
            snapshot: &snapshot,
            changes: &changes,
            commands: &commands,
            messages,
            keys,
        };
        let saved = timed(&mut timings.save, save_and_commit(client, save)).await;
        let Saved { unscheduled, pending, copies } = saved?;
        let (now, timings) = (snapshot.now, *timings);
        Ok(Committed { now, reactions, unscheduled, pending, copies, admitting, tally, timings })
    }
}

/// The first keys of what is confirmed.
fn new_keys(secrets: &Secrets, snapshot: &Snapshot, changes: &Changes) -> NewKeys {
    let secret = secrets.newest();
    let is_confirmed = |id: &Uuid| snapshot.reservations[id].state == State::Confirmed;
    let confirmed = changes.transitions.iter().filter(|change| change.is_charge());
    let ids = confirmed.map(|change| change.reservation).filter(is_confirmed);
    let hashes = ids.map(|id| (id, secret.key(id, FIRST_EPOCH).hash())).collect();
    NewKeys { secret: secret.id.clone(), hashes }
}

fn admitting(snapshot: &Snapshot, keys: Option<&NewKeys>) -> Vec<ServerId> {
    let ids = keys.into_iter().flat_map(|keys| keys.hashes.keys());
    let servers: BTreeSet<&ServerId> = ids.map(|id| &snapshot.reservations[id].server).collect();
    servers.into_iter().cloned().collect()
}

/// Whether a user's limit refuses something.
fn limits_decide<T>(decided: &Decided<'_, T>) -> bool {
    let is_limit = |decision: &Decision| {
        matches!(decision, Decision::Refused(refusal)
            if matches!(refusal.code, Code::QuotaExceeded | Code::TooManyHolds))
    };
    decided.outcomes.iter().any(|(outcome, _)| {
        matches!(outcome, Outcome::Command(_, CommandOutcome::Decided { decision, .. })
            if is_limit(decision))
    })
}

/// Users whose use the batch may change, by id.
fn users_of<T>(decided: &Decided<'_, T>) -> Vec<UserId> {
    let reservations = decided.snapshot.reservations.values();
    let users: BTreeSet<&UserId> = reservations.map(|reservation| &reservation.user).collect();
    users.into_iter().cloned().collect()
}
