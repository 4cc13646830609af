//! Another server takes the database's place.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::Chaos;
use crate::pick::Pick;

/// For a standby to be copied, to start and to catch up, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// A standby confirms every commit for a while. Then it is promoted, and whoever connects from now on
/// gets there. The old server goes on running, and so do the sessions that workers have with it, if
/// they are not broken: either it takes no writes any more, or its commits wait for ever for a standby
/// that has left it. Nothing of it counts: everything is checked at the new one.
pub async fn failover(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    let old_port = chaos.installation.database_port()?;
    let old = chaos.installation.database().await?;
    engines.retire_standbys(old_port).await?;
    let port = engines.start_standby(old_port).await?;
    confirm_commits(&old).await?;
    chaos.hold(pick.millis(3_000, 8_000)).await;
    let (read_only, broken) = (pick.chance(50), pick.chance(50));
    if read_only {
        set(&old, "default_transaction_read_only = on").await?;
    }
    let promoted = promote(chaos, port).await?;
    chaos.installation.move_database(port);
    chaos.links.move_database(port);
    if broken {
        chaos.links.to_database.iter().for_each(|link| link.reset());
    }
    let left = sessions(&old).await?;
    let fence = if read_only { "read-only" } else { "waits for its standby" };
    let then = if broken { "broken" } else { "left alone" };
    Ok(format!(
        "promoted at {promoted}; the old one {fence}; its sessions are {then}, {left} remain at first"
    ))
}

/// Waits until the standby is there, and has every commit wait for it. Whatever copies the server for it
/// also streams, and does not count: the copy must be done before this is set, or it would be set there
/// as well.
async fn confirm_commits(old: &Client) -> Result<()> {
    let standby = "select 1 from pg_stat_replication where application_name = 'walreceiver'";
    until(old, &format!("{standby} and state = 'streaming'")).await?;
    set(old, "synchronous_standby_names = 'walreceiver'").await?;
    until(old, &format!("{standby} and sync_state = 'sync'")).await
}

/// Promotes the standby; returns where its history and that of the old server part.
async fn promote(chaos: &Chaos, port: u16) -> Result<String> {
    let standby = chaos.installation.database_at(port).await?;
    let done: bool = standby.query_one("select pg_promote()", &[]).await?.get(0);
    anyhow::ensure!(done, "the standby is not promoted");
    let row = standby.query_one("select pg_current_wal_lsn()::text", &[]).await?;
    Ok(row.get(0))
}

async fn set(server: &Client, setting: &str) -> Result<()> {
    server.batch_execute(&format!("alter system set {setting}")).await?;
    server.batch_execute("select pg_reload_conf()").await.context("reloading")
}

async fn until(server: &Client, query: &str) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while server.query(query, &[]).await?.is_empty() {
        if Instant::now() > until {
            bail!("the standby does not follow: {query}");
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Workers' sessions.
async fn sessions(server: &Client) -> Result<i64> {
    let query = "select count(*) from pg_stat_activity
                 where datname = current_database() and application_name = 'holdfast'";
    Ok(server.query_one(query, &[]).await?.get(0))
}
