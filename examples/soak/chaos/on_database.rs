//! Faults of the database.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::Chaos;
use crate::pick::Pick;

/// Sessions opened at most, to leave nobody else any.
const SESSIONS_MAX: usize = 500;

pub async fn restart_fast(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGINT, pick.millis(0, 2_000)).await
}

/// As after a power failure: no checkpoint, and a recovery.
pub async fn restart_immediately(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGQUIT, pick.millis(0, 2_000)).await
}

pub async fn kill(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGKILL, Duration::ZERO).await
}

/// Long enough for a backlog.
pub async fn outage(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGINT, pick.millis(15_000, 30_000)).await
}

async fn stopped(chaos: &Chaos, signal: Signal, duration: Duration) -> Result<String> {
    let engines = chaos.engines()?;
    engines.stop_database(signal).await?;
    chaos.hold(duration).await;
    engines.start_database(&chaos.installation).await?;
    Ok(format!("{signal}, away for {:.1} s and a start", duration.as_secs_f64()))
}

/// One session dies, and the server restarts all of them.
pub async fn kill_session(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let sessions = sessions(&chaos.installation.database().await?).await?;
    anyhow::ensure!(!sessions.is_empty(), "nobody is connected");
    let victim = sessions[pick.index(sessions.len())];
    chaos.engines()?.kill_backend(victim);
    chaos.engines()?.start_database(&chaos.installation).await?;
    Ok("and all others with it".to_owned())
}

pub async fn freeze(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let (engines, duration) = (chaos.engines()?, pick.millis(1_000, 25_000));
    engines.signal_database(Signal::SIGSTOP)?;
    chaos.hold(duration).await;
    engines.signal_database(Signal::SIGCONT)?;
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}

/// Some sessions of workers end, or all.
pub async fn terminate(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    let mut victims = sessions(&database).await?;
    pick.shuffle(&mut victims);
    victims.truncate(if pick.chance(40) { victims.len() } else { 2 });
    let query = "select pg_terminate_backend(pid) from unnest($1::int[]) as pid";
    database.execute(query, &[&victims]).await?;
    Ok(format!("{} sessions", victims.len()))
}

async fn sessions(database: &Client) -> Result<Vec<i32>> {
    let query = "select pid from pg_stat_activity
                 where datname = current_database() and application_name = 'holdfast'
                   and pid <> pg_backend_pid()";
    Ok(database.query(query, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Somebody holds servers and users, for longer than a worker waits.
pub async fn lock_hog(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    let duration = pick.millis(3_000, 15_000);
    database
        .batch_execute(
            "begin; select id from servers order by random() limit 10 for update;
             select id from users order by random() limit 2 for update",
        )
        .await?;
    chaos.hold(duration).await;
    database.batch_execute("rollback").await?;
    Ok(format!("10 servers and 2 users for {:.1} s", duration.as_secs_f64()))
}

/// Somebody locks in the wrong order, again and again.
pub async fn deadlocks(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    // The others are to find out first.
    database.batch_execute("set deadlock_timeout = '3s'").await?;
    let until = Instant::now() + pick.millis(4_000, 10_000);
    let mut turns = 0;
    while Instant::now() < until && !chaos.stop.is_cancelled() {
        let turn = "begin; select id from users order by id desc for no key update;
                    select pg_sleep(0.05);
                    select id from servers order by id desc for no key update; commit";
        if database.batch_execute(turn).await.is_err() {
            database.batch_execute("rollback").await?;
        }
        turns += 1;
        chaos.hold(pick.millis(50, 300)).await;
    }
    Ok(format!("{turns} times everything in reverse"))
}

/// Nobody gets a new session, and those that there are end.
pub async fn exhausted(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let first = chaos.installation.database().await?;
    let mut taken = Vec::new();
    for _ in 0..2 {
        while taken.len() < SESSIONS_MAX && !chaos.stop.is_cancelled() {
            match chaos.installation.database().await {
                Ok(session) => taken.push(session),
                Err(_) => break,
            }
        }
        let victims = sessions_of_workers(&first).await?;
        let query = "select pg_terminate_backend(pid) from unnest($1::int[]) as pid";
        first.execute(query, &[&victims]).await?;
    }
    let duration = pick.millis(2_000, 8_000);
    chaos.hold(duration).await;
    Ok(format!("{} sessions taken for {:.1} s", taken.len(), duration.as_secs_f64()))
}

/// Ours have sent nothing but their greeting.
async fn sessions_of_workers(database: &Client) -> Result<Vec<i32>> {
    let query = "select pid from pg_stat_activity
                 where datname = current_database() and application_name = 'holdfast'
                   and query <> '' and pid <> pg_backend_pid()";
    Ok(database.query(query, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// There is no room for anything more to be written.
pub async fn disk_full(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let ballast = chaos.engines()?.ballast().context("its disk is not one of its own")?;
    let file = ballast.clone();
    let filled = tokio::task::spawn_blocking(move || fill(&file)).await;
    let duration = pick.millis(2_000, 8_000);
    chaos.hold(duration).await;
    std::fs::remove_file(&ballast).context("making room again")?;
    // What could not be written may have brought it down.
    chaos.engines()?.start_database(&chaos.installation).await?;
    Ok(format!("{} MB more for {:.1} s", filled? >> 20, duration.as_secs_f64()))
}

/// Writes until there is no more room; returns how much.
fn fill(file: &std::path::Path) -> usize {
    use std::io::Write as _;
    let Ok(mut file) = std::fs::File::create(file) else { return 0 };
    let mut written = 0;
    for size in [1 << 20, 1 << 10] {
        let zeros = vec![0; size];
        while file.write_all(&zeros).is_ok() {
            written += size;
        }
    }
    written
}

/// As when connected to a standby.
pub async fn read_only(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    database.batch_execute("set default_transaction_read_only = off").await?;
    database.batch_execute("alter system set default_transaction_read_only = on").await?;
    database.batch_execute("select pg_reload_conf()").await?;
    let duration = pick.millis(2_000, 10_000);
    chaos.hold(duration).await;
    writable(&database).await?;
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}

/// Takes back what [`read_only`] did.
pub async fn writable(database: &Client) -> Result<()> {
    database.batch_execute("set default_transaction_read_only = off").await?;
    let reset = "alter system reset default_transaction_read_only";
    database.batch_execute(reset).await.context("making the database writable again")?;
    Ok(database.batch_execute("select pg_reload_conf()").await?)
}
