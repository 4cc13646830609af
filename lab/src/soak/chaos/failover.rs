//! Fails over to another database server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::Chaos;
use crate::life::Ground;
use crate::pick::Pick;

/// Bound on copying, starting and catching up of a standby, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Promotes a standby that has confirmed every commit for a while; new connections lead to it. The
/// old server keeps running, with the workers' sessions unless they are broken. Either it refuses
/// writes, or its commits wait for ever for the standby that has left. All checks read the new
/// server.
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
    let reign = chaos.ground.former.begin(chaos.ground.clock.now());
    let promoted = promote(chaos, port).await?;
    chaos.installation.move_database(port);
    chaos.links.move_database(port);
    if broken {
        chaos.links.to_database.iter().for_each(|link| link.reset());
    }
    let left = sessions(&old).await?;
    tokio::spawn(watch(old, chaos.ground.clone(), reign));
    let fence = if read_only { "read-only" } else { "waits for its standby" };
    let then = if broken { "broken" } else { "left alone" };
    Ok(format!(
        "promoted at {promoted}; the old one {fence}; its sessions are {then}, {left} remain at first"
    ))
}

/// Waits for the standby, and then makes every commit wait for it. The copy must be complete
/// before, or it would contain the setting too; the program that copies also streams and does not
/// count.
async fn confirm_commits(old: &Client) -> Result<()> {
    let standby = "select 1 from pg_stat_replication where application_name = 'walreceiver'";
    until(old, &format!("{standby} and state = 'streaming'")).await?;
    set(old, "synchronous_standby_names = 'walreceiver'").await?;
    until(old, &format!("{standby} and sync_state = 'sync'")).await
}

/// Promotes the standby. Returns where its history and the old server's diverge.
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

/// Notes when no session is left with a former primary, or it is gone. Until then queries may be answered from
/// what it has.
async fn watch(former: Client, ground: Arc<Ground>, reign: usize) {
    while sessions(&former).await.is_ok_and(|left| left > 0) {
        sleep(LOOK_INTERVAL).await;
    }
    ground.former.end(reign, ground.clock.now());
}

/// Number of the workers' sessions.
async fn sessions(server: &Client) -> Result<i64> {
    let query = "select count(*) from pg_stat_activity
                 where datname = current_database() and application_name like 'holdfast%'
                   and pid <> pg_backend_pid()";
    Ok(server.query_one(query, &[]).await?.get(0))
}
