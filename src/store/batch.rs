//! One transaction per batch: load, decide, save, commit.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Pool};

use super::error::StoreError;
use super::load::{Users, load};
use super::outbox::Pending;
use super::pool::Session;
use super::save::{Save, Saved, save_and_commit};
use crate::crash_point;
use crate::domain::decide::decide;
use crate::domain::interval::Timestamp;
use crate::domain::refusal::Code;
use crate::domain::snapshot::{Changes, Decision, Outcome, Snapshot, Step};

/// A batch takes milliseconds; past this the connection is given up and the batch tried again.
/// Longer than the sessions' `statement_timeout`, so that the server usually ends a stuck one first.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A decided batch, before it is written.
pub struct Decided {
    /// Reservations and servers as they are afterwards.
    pub world: Snapshot,
    /// One per step.
    pub verdicts: Vec<Outcome>,
    /// What changes.
    pub effects: Changes,
}

/// A batch that is committed.
pub struct Committed<T> {
    /// When it was decided, by the database's clock.
    pub now: Timestamp,
    /// What the caller made of the decisions.
    pub rendered: T,
    /// Instants that need a wake-up which nobody has armed yet.
    pub unscheduled: Vec<Timestamp>,
    /// Events and notices to tell; the relay tells those that stay in the outbox.
    pub announced: Vec<Pending>,
}

/// Decides `steps` in one transaction. `render` turns the decisions into what is stored and sent;
/// it runs before the commit, and its first part is written.
///
/// Users are not locked while the batch is decided: batches of other partitions may reserve for the
/// same ones meanwhile, and the guard judges all of them when they are written. Where a user's limit
/// decides, because it refuses a request or the guard does, the batch is decided once more, with all
/// its users locked. So nobody is refused because of what is not so, and nobody gets more than allowed.
pub async fn run<T>(
    pool: &Pool,
    partition: i32,
    steps: &[Step],
    render: impl Fn(&Decided) -> (Rendered, T),
) -> Result<Committed<T>, StoreError> {
    let work = run_unbounded(pool, partition, steps, render);
    let outcome = tokio::time::timeout(BATCH_TIMEOUT, work)
        .await
        .map_err(|_| StoreError::Timeout("a batch's transaction"))?;
    if outcome.as_ref().is_err_and(StoreError::is_read_only) {
        // The others lead to the same server; new ones lead to the one that takes writes.
        pool.retain(|_, _| false);
    }
    outcome
}

/// The part of a rendering that is written with the batch.
pub struct Rendered {
    /// Decided commands with their answers.
    pub commands: Vec<super::save::DecidedCommand>,
    /// Events and notices.
    pub announcements: Vec<super::outbox::OutboxMessage>,
}

async fn run_unbounded<T>(
    pool: &Pool,
    partition: i32,
    steps: &[Step],
    render: impl Fn(&Decided) -> (Rendered, T),
) -> Result<Committed<T>, StoreError> {
    let session = Session::take(pool).await?;
    let client = session.client();
    let decided = load_and_decide(client, partition, steps, Users::Unlocked).await?;
    let committed = if limits_decide(&decided.verdicts) {
        client.batch_execute("rollback").await?;
        None
    } else {
        match write(client, partition, &decided, &render).await {
            Err(error) if error.is_user_limit() => None,
            committed => Some(committed?),
        }
    };
    let committed = match committed {
        Some(committed) => committed,
        None => {
            let users = users_of(&decided);
            let locked = Users::Locked(&users);
            let decided = load_and_decide(client, partition, steps, locked).await?;
            write(client, partition, &decided, &render).await?
        }
    };
    crash_point!("committed");
    session.finish();
    Ok(committed)
}

async fn load_and_decide(
    client: &ClientWrapper,
    partition: i32,
    steps: &[Step],
    users: Users<'_>,
) -> Result<Decided, StoreError> {
    let mut world = load(client, partition, steps, users).await?;
    crash_point!("loaded");
    let (verdicts, effects) = decide(&mut world, steps);
    Ok(Decided { world, verdicts, effects })
}

/// Whether something is refused for what its user has in use.
fn limits_decide(verdicts: &[Outcome]) -> bool {
    verdicts.iter().any(|verdict| {
        matches!(verdict, Outcome::Decided { decision: Decision::Refused(refusal), .. }
            if matches!(refusal.code, Code::QuotaExceeded | Code::TooManyHolds))
    })
}

/// Whose use a batch may change, as it was decided.
fn users_of(decided: &Decided) -> Vec<String> {
    let users: BTreeSet<&str> =
        decided.world.reservations.values().map(|reservation| reservation.user.as_str()).collect();
    users.into_iter().map(str::to_owned).collect()
}

async fn write<T>(
    client: &ClientWrapper,
    partition: i32,
    decided: &Decided,
    render: impl Fn(&Decided) -> (Rendered, T),
) -> Result<Committed<T>, StoreError> {
    let (Rendered { commands, announcements }, rendered) = render(decided);
    let Decided { world, effects, .. } = decided;
    let save = Save { partition, world, effects, commands, announcements };
    let Saved { unscheduled, announced } = save_and_commit(client, save).await?;
    Ok(Committed { now: decided.world.now, rendered, unscheduled, announced })
}
