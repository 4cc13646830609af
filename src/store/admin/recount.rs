//! Counts all use anew, in steps between which decisions go on. See
//! `docs/decisions/0035-use-is-counted-anew-in-steps.md`.
//!
//! A page of users is marked under their locks, and read in a snapshot that is taken meanwhile: all that was
//! reserved before the mark is in the snapshot, and all that is reserved after it, the guard counts itself. So
//! the locks last for a few statements, however much there is to count.

use std::collections::HashMap;

use tokio_postgres::{Client, GenericClient, IsolationLevel, Row, Transaction};

use super::policy::{Policy, PolicyChange, change_policy};
use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// Bound on each wait for a lock while users are locked. Below PostgreSQL's `deadlock_timeout`, one second: a
/// page gives way before a batch is cancelled, and decisions never wait for a page that waits for longer.
const LOCK_TIMEOUT: &str = "500ms";

/// Most periods written under the locks of their users: some ten milliseconds.
const ADD_MAX: usize = 1_000;

/// Most rows deleted in one step.
const DELETE_MAX: i64 = 10_000;

/// Sorts after every id: all users.
const ALL: &str = "~";

/// A count that is under way.
#[derive(Debug, Clone)]
pub struct Recount {
    /// Names its rows.
    pub generation: i64,
    /// The period that it counts by, in force at its end.
    pub quota_period: String,
    /// Likewise the zone.
    pub quota_zone: String,
    /// By the database's clock.
    pub started_at: Timestamp,
    /// Who began it.
    pub operator: String,
    counted_until: String,
    marks: i64,
}

impl Recount {
    /// Whether it counts by this period and zone.
    pub fn is_by(&self, period: &str, zone: &str) -> bool {
        self.quota_period == period && self.quota_zone.eq_ignore_ascii_case(zone)
    }

    /// Whether it has come to all users, so that [`finish`] remains.
    pub fn is_counted(&self) -> bool {
        self.counted_until == ALL
    }
}

fn read(row: &Row) -> Recount {
    Recount {
        generation: row.get("generation"),
        quota_period: row.get("quota_period"),
        quota_zone: row.get("quota_zone"),
        started_at: row.get("started_at"),
        operator: row.get("operator"),
        counted_until: row.get("counted_until"),
        marks: row.get("marks"),
    }
}

/// The count that is under way.
pub async fn load_recount(client: &Client) -> Result<Option<Recount>, StoreError> {
    Ok(client.query_opt(sql!("load_recount"), &[]).await?.as_ref().map(read))
}

/// Begins a count by this session's zone rules, or returns the one that is under way, whatever it counts by.
/// An unknown zone is refused (`22023`).
pub async fn begin(client: &Client, period: &str, zone: &str) -> Result<Recount, StoreError> {
    Ok(read(&client.query_one(sql!("begin_recount"), &[&period, &zone]).await?))
}

/// How many users the count has still to come to.
pub async fn count_users_left(client: &Client) -> Result<i64, StoreError> {
    Ok(client.query_one(sql!("count_users_left"), &[]).await?.get(0))
}

/// A page of users whose later reservations the guard counts, and the snapshot of the earlier ones.
pub struct Marked<'r> {
    generation: i64,
    marks: i64,
    holds: Vec<(String, i32)>,
    snapshot: Transaction<'r>,
}

/// Marks the next `most` users. `None`: the count has ended.
///
/// A page that another session has marked and not finished is marked again, which takes the count over.
pub async fn mark<'r>(
    client: &mut Client,
    reader: &'r mut Client,
    generation: i64,
    most: i64,
) -> Result<Option<Marked<'r>>, StoreError> {
    let transaction = client.transaction().await?;
    let Some(recount) = lock(&transaction, generation).await? else { return Ok(None) };
    let rows = transaction.query(sql!("lock_page"), &[&recount.counted_until, &most]).await?;
    let users: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    transaction.execute(sql!("touch_page"), &[&users]).await?;
    transaction.execute(sql!("delete_page"), &[&generation, &users]).await?;
    let until = users.last().filter(|_| rows.len() as i64 == most).copied().unwrap_or(ALL);
    let marks = transaction.query_one(sql!("mark_page"), &[&until]).await?.get(0);
    // In a snapshot that begins under the locks.
    let level = IsolationLevel::RepeatableRead;
    let snapshot =
        reader.build_transaction().isolation_level(level).read_only(true).start().await?;
    snapshot.execute(sql!("avoid_seqscan"), &[]).await?;
    let holds = snapshot.query(sql!("load_holds"), &[&users]).await?;
    let holds = holds.iter().map(|row| (row.get("id"), row.get("holds"))).collect();
    transaction.commit().await?;
    Ok(Some(Marked { generation, marks, holds, snapshot }))
}

/// Locks the count, unless it has ended.
async fn lock(
    transaction: &Transaction<'_>,
    generation: i64,
) -> Result<Option<Recount>, StoreError> {
    transaction.execute(sql!("set_lock_timeout"), &[&LOCK_TIMEOUT]).await?;
    transaction.execute(sql!("lock_recounts"), &[]).await?;
    let row = transaction.query_opt(sql!("load_recount"), &[]).await?;
    Ok(row.as_ref().map(read).filter(|recount| recount.generation == generation))
}

struct Use {
    user: String,
    period_start: Timestamp,
    period_end: Timestamp,
    reserved_us: i64,
}

/// What the users of a page had reserved when they were marked.
pub struct Counted {
    generation: i64,
    marks: i64,
    uses: Vec<Use>,
    /// Of counts of holds that were wrong.
    corrections: Vec<(String, i32)>,
    /// How many of `uses` are written.
    added: usize,
}

impl Marked<'_> {
    /// The page's users.
    pub fn users(&self) -> usize {
        self.holds.len()
    }

    /// Counts without a lock.
    pub async fn count(self) -> Result<Counted, StoreError> {
        let users: Vec<&str> = self.holds.iter().map(|(user, _)| user.as_str()).collect();
        let rows = self.snapshot.query(sql!("count_page"), &[&users]).await?;
        self.snapshot.commit().await?;
        let mut held = HashMap::<&str, i32>::new();
        for row in &rows {
            *held.entry(row.get("user_id")).or_default() += row.get::<_, i32>("holds");
        }
        let wrong = |(user, kept): &(String, i32)| {
            let difference = held.get(user.as_str()).copied().unwrap_or(0) - kept;
            (difference != 0).then(|| (user.clone(), difference))
        };
        Ok(Counted {
            generation: self.generation,
            marks: self.marks,
            corrections: self.holds.iter().filter_map(wrong).collect(),
            uses: rows.iter().map(read_use).collect(),
            added: 0,
        })
    }
}

fn read_use(row: &Row) -> Use {
    Use {
        user: row.get("user_id"),
        period_start: row.get("period_start"),
        period_end: row.get("period_end"),
        reserved_us: row.get("reserved_us"),
    }
}

impl Counted {
    /// Adds what was counted, a part at a time. After an error it can be called again, and goes on. `false`: the
    /// count has ended, or another session has taken it over.
    pub async fn add(&mut self, client: &mut Client) -> Result<bool, StoreError> {
        loop {
            let rest = &self.uses[self.added..];
            let part = &rest[..rest.len().min(ADD_MAX)];
            let is_last = part.len() == rest.len();
            let transaction = client.transaction().await?;
            let recount = lock(&transaction, self.generation).await?;
            if recount.is_none_or(|recount| recount.marks != self.marks) {
                return Ok(false);
            }
            self.write(&transaction, part, is_last).await?;
            transaction.commit().await?;
            self.added += part.len();
            if is_last {
                return Ok(true);
            }
        }
    }

    async fn write(
        &self,
        transaction: &Transaction<'_>,
        part: &[Use],
        is_last: bool,
    ) -> Result<(), StoreError> {
        let users: Vec<&str> = part.iter().map(|it| it.user.as_str()).collect();
        let (wrong, differences): (Vec<&str>, Vec<i32>) = match is_last {
            true => self.corrections.iter().map(|(user, by)| (user.as_str(), *by)).unzip(),
            false => Default::default(),
        };
        let locked = [users.as_slice(), wrong.as_slice()].concat();
        transaction.execute(sql!("lock_counted"), &[&locked]).await?;
        let starts: Vec<Timestamp> = part.iter().map(|it| it.period_start).collect();
        let ends: Vec<Timestamp> = part.iter().map(|it| it.period_end).collect();
        let reserved: Vec<i64> = part.iter().map(|it| it.reserved_us).collect();
        let columns: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&self.generation, &users, &starts, &ends, &reserved];
        transaction.execute(sql!("add_use"), &columns).await?;
        if is_last {
            transaction.execute(sql!("add_holds"), &[&wrong, &differences]).await?;
            transaction.execute(sql!("finish_page"), &[]).await?;
        }
        Ok(())
    }
}

/// Puts what is counted into force, together with the policy that it counts by and other changes. `None`: the
/// count has ended, or not come to all users.
pub async fn finish(
    client: &mut Client,
    recount: &Recount,
    change: &PolicyChange,
) -> Result<Option<Policy>, StoreError> {
    let transaction = client.transaction().await?;
    let counted = lock(&transaction, recount.generation).await?;
    if !counted.is_some_and(|recount| recount.is_counted()) {
        return Ok(None);
    }
    let change = PolicyChange {
        quota_period: Some(recount.quota_period.clone()),
        quota_zone: Some(recount.quota_zone.clone()),
        ..change.clone()
    };
    let policy = change_policy(&transaction, &change, Some(recount.generation)).await?;
    abandon(&transaction).await?;
    transaction.commit().await?;
    Ok(Some(policy))
}

/// Ends the count that is under way, done or not, and leaves its rows to [`delete_stale`]. `false`: there is none.
pub async fn abandon(client: &impl GenericClient) -> Result<bool, StoreError> {
    Ok(client.execute(sql!("delete_recount"), &[]).await? > 0)
}

/// Deletes what is left of former and abandoned generations.
pub async fn delete_stale(client: &Client) -> Result<(), StoreError> {
    while client.execute(sql!("delete_stale_use"), &[&DELETE_MAX]).await? > 0 {}
    client.execute(sql!("delete_stale_bounds"), &[]).await?;
    Ok(())
}
