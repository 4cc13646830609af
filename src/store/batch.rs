//! One transaction per batch: load, decide, save, commit.

use std::time::Duration;

use deadpool_postgres::Pool;

use super::error::StoreError;
use super::load::{Loaded, load};
use super::pool::Session;
use super::save::{Save, save};
use crate::crash_point;
use crate::domain::decide::decide;
use crate::domain::interval::Instant;
use crate::domain::world::{Effects, Step, Verdict, World};

/// A batch takes milliseconds; past this the connection is given up and the batch tried again.
/// Longer than the sessions' `statement_timeout`, so that the server usually ends a stuck one first.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A decided batch, before it is written.
pub struct Decided {
    /// Reservations and servers as they are afterwards.
    pub world: World,
    /// One per step.
    pub verdicts: Vec<Verdict>,
    /// What changes.
    pub effects: Effects,
}

/// A batch that is committed.
pub struct Committed<T> {
    /// When it was decided, by the database's clock.
    pub now: Instant,
    /// What the caller made of the decisions.
    pub rendered: T,
    /// Instants that need a wake-up which nobody has armed yet.
    pub unarmed: Vec<Instant>,
}

/// Decides `steps` in one transaction. `render` turns the decisions into what is stored and sent;
/// it runs before the commit, and its first part is written.
pub async fn run<T>(
    pool: &Pool,
    partition: i32,
    steps: &[Step],
    render: impl FnOnce(&Decided) -> (Rendered, T),
) -> Result<Committed<T>, StoreError> {
    let work = run_unbounded(pool, partition, steps, render);
    tokio::time::timeout(BATCH_TIMEOUT, work)
        .await
        .map_err(|_| StoreError::Timeout("a batch's transaction"))?
}

/// The part of a rendering that is written with the batch.
pub struct Rendered {
    /// Decided commands with their answers.
    pub commands: Vec<super::save::DecidedCommand>,
    /// Events and notices.
    pub announcements: Vec<super::save::Announcement>,
}

async fn run_unbounded<T>(
    pool: &Pool,
    partition: i32,
    steps: &[Step],
    render: impl FnOnce(&Decided) -> (Rendered, T),
) -> Result<Committed<T>, StoreError> {
    let session = Session::take(pool).await?;
    let client = session.client();
    let Loaded { mut world, first_seq } = load(client, partition, steps).await?;
    crash_point!("loaded");
    let (verdicts, effects) = decide(&mut world, steps);
    let decided = Decided { world, verdicts, effects };
    let (Rendered { commands, announcements }, rendered) = render(&decided);
    let unarmed = save(
        client,
        Save {
            partition,
            first_seq,
            world: &decided.world,
            effects: &decided.effects,
            commands,
            announcements,
        },
    )
    .await?;
    crash_point!("saved");
    client.batch_execute("commit").await?;
    crash_point!("committed");
    session.finish();
    Ok(Committed { now: decided.world.now, rendered, unarmed })
}
