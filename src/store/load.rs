//! Locks and reads what a batch is decided against, in one round trip.
//!
//! READ COMMITTED gives each statement its own snapshot, so reads after the locks see all that earlier
//! holders committed. See `docs/decisions/0008-read-committed-with-locks.md`.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use super::error::StoreError;
use super::needs::{Columns, Needs, SETTLE_MAX, Spans};
use super::sequence::{Param, rows, run, send};
use super::snapshot::{Loaded, assemble};
use super::statements;
use crate::domain::id::UserId;
use crate::domain::snapshot::Snapshot;

/// Whether a batch's users are locked before their use is read.
///
/// Locked early, they stay locked while the worker decides, and batches of other partitions wait for its
/// round trips. See `docs/decisions/0006-users-are-not-locked-while-deciding.md`.
#[derive(Debug, Clone, Copy)]
pub enum Users<'a> {
    /// The guard locks them when reservations are written, and refuses what does not fit.
    Unlocked,
    /// Locks the users who request something, so that refusals for quota or holds rest on current counts.
    /// Locks the named ones too, whose use the batch changes otherwise: locked only at the write, they
    /// could deadlock two batches.
    Locked(&'a [UserId]),
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
    load_clock,
);

/// Begins a transaction, locks in the global order, and reads. `partition` selects the due reservations.
pub async fn load(
    client: &ClientWrapper,
    partition: Option<i32>,
    needs: &Needs,
    users: Users<'_>,
) -> Result<Snapshot, StoreError> {
    let statements = Statements::prepare(client).await?;
    let loaded = send_all(client, &statements, partition, needs, users).await?;
    assemble(&loaded, partition, needs)
}

/// Sends locks first, then reads under them, and the clock after all that decides.
async fn send_all(
    client: &ClientWrapper,
    on: &Statements,
    partition: Option<i32>,
    needs: &Needs,
    users: Users<'_>,
) -> Result<Loaded, StoreError> {
    let columns = Columns::of(needs);
    let Columns { terminals, requesting, servers, reservations, ids, .. } = &columns;
    let Columns { quota, windows, .. } = &columns;
    let due = needs.due;
    let requests = !requesting.is_empty();
    let changes = !reservations.is_empty() || due.is_some();
    let locks = changes || !servers.is_empty();
    let [p, d, most]: [Param<'_>; 3] = [&partition, &due, &SETTLE_MAX];
    let [of, from, until] = span_params(windows);

    let begun = send(run(client, "begin")).await?;
    let servers = [servers as Param<'_>, reservations, p, d, most];
    let servers = send(rows(client, locks, &on.lock_servers, servers)).await?;
    let reservations = [reservations as Param<'_>, p, d, most];
    let reservations = send(rows(client, changes, &on.lock_reservations, reservations)).await?;
    let users = send(load_users(client, on, requesting, users)).await?;
    let known = send(rows(client, !ids.0.is_empty(), &on.load_known, [&ids.0, &ids.1])).await?;
    let terminals =
        send(rows(client, !terminals.is_empty(), &on.load_terminals, [terminals])).await?;
    let closures = send(rows(client, requests, &on.load_closures, [of, from, until])).await?;
    let quota = send(rows(client, requests, &on.load_quota, span_params(quota))).await?;
    let booked = send(rows(client, requests, &on.load_booked, [of, from, until])).await?;
    let clock = send(rows(client, true, &on.load_clock, [])).await?;

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
    })
}

pub(super) fn span_params<'a>(spans: &'a Spans<'_>) -> [Param<'a>; 3] {
    [&spans.of, &spans.starts, &spans.ends]
}

/// Holds of users; [`Users::Locked`] locks them first.
async fn load_users(
    client: &ClientWrapper,
    on: &Statements,
    requesting: &[&str],
    users: Users<'_>,
) -> Result<Vec<Row>, StoreError> {
    match users {
        Users::Unlocked => {
            rows(client, !requesting.is_empty(), &on.load_users, [&requesting]).await
        }
        Users::Locked(named) => {
            let named: Vec<&str> = named.iter().map(UserId::as_str).collect();
            rows(client, true, &on.lock_users, [&requesting, &named]).await
        }
    }
}
