//! Schema migrations: forward only, under an advisory lock, while workers run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use refinery::{Migration, Report, Runner};
use tokio_postgres::Client;
use tracing::warn;

use super::error::StoreError;
use super::pool::{Pool, Session, bounded};
use super::url::DatabaseUrl;
use super::{error, grants, outside, pool, sql};
use crate::backoff;

mod embedded {
    refinery::embed_migrations!("schema/migrations");
}

/// Arbitrary, the same for all runners. refinery takes no lock: two of four concurrent runners failed
/// without one.
const MIGRATION_LOCK: i64 = 0x686f_6c64_6661_7374;

/// Bound on waiting for another runner: its migrations may rewrite tables.
const TURN_TIMEOUT: Duration = Duration::from_secs(600);

/// Time between two tries for the lock.
const TURN_PAUSE: Duration = Duration::from_millis(500);

/// A wait without a message: a runner that has just ended leaves a session that takes a moment to end.
const SILENCE: Duration = Duration::from_secs(1);

/// Time between two messages about a wait.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(5);

/// Some minutes: a dump or a report may hold a lock that long.
const TRIES_MAX: u32 = 100;

/// Longest pause, in which workers catch up.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Without the workers' session limits: a migration may take long. `lock_timeout` is short.
async fn connect(url: &DatabaseUrl) -> Result<Client> {
    let opened = pool::unlimited(url).named("migrate").open().await;
    opened.with_context(|| format!("cannot connect to {}", url.place()))
}

fn runner() -> Runner {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("schema_migrations");
    runner
}

/// Applies the missing migrations and returns their names.
///
/// Each is a transaction. After a lock timeout or a deadlock it rolls back and is retried.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<String>> {
    let mut client = connect(url).await?;
    take_turn(&client).await?;
    let applied = apply(&mut client).await?;
    grants::grant_all(&client).await.context("granting rights on the tables")?;
    for change in outside::changes(&client).await? {
        warn!("{change}");
    }
    Ok(applied)
}

/// Waits for other runners. The lock ends with the connection.
async fn take_turn(client: &Client) -> Result<()> {
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let row = client.query_one(sql!("lock_migrations"), &[&MIGRATION_LOCK]).await;
        if row.map_err(StoreError::from)?.get(0) {
            return Ok(());
        }
        if began.elapsed() > TURN_TIMEOUT {
            let holder = holder(client).await?;
            let holder = holder.as_deref().unwrap_or("nobody holds it any more");
            bail!(
                "gave up waiting for the lock of migrations: {holder}. End that process, or wait"
            );
        }
        let (since, interval) = told.map_or((began, SILENCE), |told| (told, MESSAGE_INTERVAL));
        if since.elapsed() >= interval
            && let Some(holder) = holder(client).await?
        {
            told = Some(Instant::now());
            let seconds = began.elapsed().as_secs();
            warn!(seconds, "waiting for the lock of migrations: {holder}");
        }
        tokio::time::sleep(TURN_PAUSE).await;
    }
}

/// Who holds the lock, for people; `None` if it is free by now.
async fn holder(client: &Client) -> Result<Option<String>, StoreError> {
    let row = client.query_opt(sql!("load_migrations_lock"), &[&MIGRATION_LOCK]).await?;
    Ok(row.map(|row| row.get(0)))
}

async fn apply(client: &mut Client) -> Result<Vec<String>> {
    let mut applied = Vec::new();
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = runner().run_async(client).await;
        // A failed run still reports what it committed.
        let report = outcome.as_ref().map_or_else(refinery::Error::report, Some);
        let committed = report.into_iter().flat_map(Report::applied_migrations);
        applied.extend(committed.map(ToString::to_string));
        match outcome {
            Ok(_) => return Ok(applied),
            Err(error) if tries < TRIES_MAX && is_contention(&error) => {
                warn!(tries, "a migration could not lock a table and is retried");
                tokio::time::sleep(backoff::up_to(PAUSE_MAX)).await;
            }
            Err(error) => return Err(error).context("a migration failed"),
        }
    }
}

/// Whether only a lock made it fail.
fn is_contention(error: &refinery::Error) -> bool {
    let refinery::error::Kind::Connection(_, source) = error.kind() else { return false };
    source.downcast_ref().and_then(tokio_postgres::Error::code).is_some_and(error::is_contention)
}

/// What the database takes from outside and has changed since: sentences for people.
pub async fn outside_changes(url: &DatabaseUrl) -> Result<Vec<String>> {
    Ok(outside::changes(&connect(url).await?).await?)
}

/// The number of this program's last migration.
pub fn newest() -> i32 {
    runner().get_migrations().iter().map(|step| step.version()).max().unwrap_or_default()
}

/// Names of the missing migrations. Fails if an applied one differs from this program's.
pub async fn pending(url: &DatabaseUrl) -> Result<Vec<String>> {
    let mut client = connect(url).await?;
    let runner = runner();
    let applied = applied(&mut client, &runner).await?;
    let mut missing = Vec::new();
    for migration in runner.get_migrations() {
        match applied.iter().find(|done| done.version() == migration.version()) {
            None => missing.push(migration.to_string()),
            Some(done) => ensure!(
                done.checksum() == migration.checksum(),
                "migration {migration} in the database differs from this program's"
            ),
        }
    }
    Ok(missing)
}

/// The same for a running worker, which does not end for it: what is missing, and what differs.
pub async fn lacking(pool: &Pool) -> Result<Vec<String>, StoreError> {
    let applied = bounded("reading the applied migrations", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("load_applied_migrations")).await?;
        let rows = session.client().query(&statement, &[]).await?;
        session.finish();
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect::<HashMap<i32, String>>())
    })
    .await?;
    let lacks = |migration: &&Migration| {
        let checksum = applied.get(&migration.version());
        checksum != Some(&migration.checksum().to_string())
    };
    Ok(runner().get_migrations().iter().filter(lacks).map(ToString::to_string).collect())
}

async fn applied(client: &mut Client, runner: &Runner) -> Result<Vec<Migration>> {
    if !client.query_one(sql!("has_migrations"), &[]).await?.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    runner.get_applied_migrations_async(client).await.context("cannot read the applied migrations")
}
