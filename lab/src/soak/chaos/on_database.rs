//! Faults of the database.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::Chaos;
use super::engines::DATABASE_LOG;
use crate::pick::Pick;

/// Bound on the server noticing that its clock was set.
const CLOCK_SET_WITHIN: Duration = Duration::from_secs(3);

/// How long sessions go by what they last read of their clock's file: `FAKETIME_CACHE_DURATION`.
const CLOCK_CACHED: TimeDelta = TimeDelta::seconds(1);

/// How long until the server's counters show what has happened.
const COUNTED_WITHIN: Duration = Duration::from_secs(2);

/// Most sessions opened in order to use up all of them.
const SESSIONS_MAX: usize = 500;

pub async fn restart_fast(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGINT, pick.millis(0, 2_000)).await
}

/// Stops the database as a power failure does: without a checkpoint, so that it must recover.
pub async fn restart_immediately(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGQUIT, pick.millis(0, 2_000)).await
}

pub async fn kill(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    stopped(chaos, Signal::SIGKILL, Duration::ZERO).await
}

/// Stops the database for long enough to build a backlog.
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

/// Kills one session, upon which the server ends all of them.
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

/// Terminates some or all sessions of workers.
pub async fn terminate(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    let mut victims = sessions(&database).await?;
    pick.shuffle(&mut victims);
    victims.truncate(if pick.chance(40) { victims.len() } else { 2 });
    let query = "select pg_terminate_backend(pid) from unnest($1::int[]) as pid";
    database.execute(query, &[&victims]).await?;
    anyhow::ensure!(!victims.is_empty(), "nobody is connected");
    Ok(format!("{} sessions", victims.len()))
}

pub(super) async fn sessions(database: &Client) -> Result<Vec<i32>> {
    let query = "select pid from pg_stat_activity
                 where datname = current_database() and application_name like 'holdfast%'
                   and pid <> pg_backend_pid()";
    Ok(database.query(query, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Locks servers and users for longer than a worker waits.
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
    let waits = "select count(*) from pg_stat_activity
                 where pg_backend_pid() = any (pg_blocking_pids(pid))";
    let waiting: i64 = database.query_one(waits, &[]).await?.get(0);
    database.batch_execute("rollback").await?;
    anyhow::ensure!(waiting > 0, "nobody waits for them");
    let lasted = duration.as_secs_f64();
    Ok(format!("10 servers and 2 users for {lasted:.1} s, and {waiting} sessions wait"))
}

/// Takes locks in the wrong order, repeatedly.
pub async fn deadlocks(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    // The workers must detect the deadlock first.
    database.batch_execute("set deadlock_timeout = '3s'").await?;
    let until = Instant::now() + pick.millis(4_000, 10_000);
    let mut turns = 0;
    let before = found_deadlocks(&database).await?;
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
    // Sessions report their counters a second late.
    chaos.hold(COUNTED_WITHIN).await;
    let found = found_deadlocks(&chaos.installation.database().await?).await? - before;
    anyhow::ensure!(found > 0, "{turns} times everything in reverse: nobody was in the way");
    Ok(format!("{turns} times everything in reverse: {found} deadlocks"))
}

async fn found_deadlocks(database: &Client) -> Result<i64> {
    let query = "select deadlocks from pg_stat_database where datname = current_database()";
    Ok(database.query_one(query, &[]).await?.get(0))
}

/// Uses up all sessions and ends the workers' ones.
pub async fn exhausted(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let first = chaos.installation.database().await?;
    let (mut taken, mut refused) = (Vec::new(), false);
    for _ in 0..2 {
        while taken.len() < SESSIONS_MAX && !chaos.stop.is_cancelled() {
            match chaos.installation.database().await {
                Ok(session) => taken.push(session),
                Err(_) => {
                    refused = true;
                    break;
                }
            }
        }
        let victims = sessions_of_workers(&first).await?;
        let query = "select pg_terminate_backend(pid) from unnest($1::int[]) as pid";
        first.execute(query, &[&victims]).await?;
    }
    anyhow::ensure!(refused || chaos.stop.is_cancelled(), "there are more than {SESSIONS_MAX}");
    let duration = pick.millis(2_000, 8_000);
    chaos.hold(duration).await;
    Ok(format!("{} sessions taken for {:.1} s", taken.len(), duration.as_secs_f64()))
}

/// Workers' sessions. Ours differ in that they have sent no query.
async fn sessions_of_workers(database: &Client) -> Result<Vec<i32>> {
    let query = "select pid from pg_stat_activity
                 where datname = current_database() and application_name like 'holdfast%'
                   and query <> '' and pid <> pg_backend_pid()";
    Ok(database.query(query, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Fills the database's disk.
pub async fn disk_full(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let ballast = chaos.engines()?.ballast().context("its disk is not one of its own")?;
    let file = ballast.clone();
    let before = chaos.engines()?.lines_in_log(DATABASE_LOG, NO_ROOM);
    let filled = tokio::task::spawn_blocking(move || fill(&file)).await;
    let duration = pick.millis(2_000, 8_000);
    chaos.hold(duration).await;
    std::fs::remove_file(&ballast).context("making room again")?;
    // The failed writes may have crashed it.
    chaos.engines()?.start_database(&chaos.installation).await?;
    let failed = chaos.engines()?.lines_in_log(DATABASE_LOG, NO_ROOM) - before;
    anyhow::ensure!(failed > 0, "nobody wanted to write");
    let (size, lasted) = (filled? >> 20, duration.as_secs_f64());
    Ok(format!("{size} MB more for {lasted:.1} s: {failed} writes failed"))
}

/// Writes until the disk is full. Returns how much it wrote.
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

/// What the database logs when the disk is full.
const NO_ROOM: &str = "No space left on device";
const READ_ONLY: &str = "in a read-only transaction";

/// Makes all sessions read-only, as on a standby.
pub async fn read_only(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    let before = chaos.engines()?.lines_in_log(DATABASE_LOG, READ_ONLY);
    database.batch_execute("set default_transaction_read_only = off").await?;
    database.batch_execute("alter system set default_transaction_read_only = on").await?;
    database.batch_execute("select pg_reload_conf()").await?;
    let duration = pick.millis(2_000, 10_000);
    chaos.hold(duration).await;
    writable(&database).await?;
    let refused = chaos.engines()?.lines_in_log(DATABASE_LOG, READ_ONLY) - before;
    anyhow::ensure!(refused > 0, "nobody wanted to write");
    Ok(format!("for {:.1} s: {refused} statements refused", duration.as_secs_f64()))
}

/// Sets the running database's clock back by five minutes, and corrects it later.
pub async fn clock_back(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    clock_off(chaos, pick, TimeDelta::minutes(-5)).await
}

/// Sets the database's clock far ahead and back again, as a wrong time server does. What is due by it is
/// settled, and then life goes on.
pub async fn clock_ahead(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let told = clock_off(chaos, pick, TimeDelta::days(500)).await;
    chaos.hold(pick.millis(5_000, 12_000)).await;
    told
}

async fn clock_off(chaos: &Chaos, pick: &mut Pick, by: TimeDelta) -> Result<String> {
    let engines = chaos.engines()?;
    if !engines.has_clock() {
        engines.restart_database_with_clock(&chaos.installation).await?;
        chaos.hold(pick.millis(3_000, 6_000)).await;
    }
    chaos.ground.jumps.begin(by, chaos.ground.clock.now());
    engines.set_clock(&format!("{:+}", by.num_seconds()))?;
    let off = clock_is(chaos, by).await;
    let duration = pick.millis(8_000, 20_000);
    chaos.hold(duration).await;
    engines.set_clock("+0")?;
    clock_is(chaos, TimeDelta::zero()).await?;
    chaos.ground.jumps.end(chaos.ground.clock.now() + CLOCK_CACHED);
    Ok(format!("by {} s for {:.1} s", off?.num_seconds(), duration.as_secs_f64()))
}

/// Waits until the database's clock has that offset from ours, and returns the offset.
async fn clock_is(chaos: &Chaos, wanted: TimeDelta) -> Result<TimeDelta> {
    let until = Instant::now() + CLOCK_SET_WITHIN;
    loop {
        let database = chaos.installation.database().await?;
        let theirs: DateTime<Utc> =
            database.query_one("select clock_timestamp()", &[]).await?.get(0);
        let offset = theirs - chaos.ground.clock.now();
        if (offset - wanted).abs() < TimeDelta::seconds(1) {
            return Ok(offset);
        }
        anyhow::ensure!(Instant::now() < until, "its clock is off by {offset}, not {wanted}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Reverts [`read_only`].
pub async fn writable(database: &Client) -> Result<()> {
    database.batch_execute("set default_transaction_read_only = off").await?;
    let reset = "alter system reset default_transaction_read_only";
    database.batch_execute(reset).await.context("making the database writable again")?;
    Ok(database.batch_execute("select pg_reload_conf()").await?)
}
