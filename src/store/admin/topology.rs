//! The recorded topology: how many partitions there are, and which server is in which.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// How long to wait for another command that changes the topology.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two tries to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Makes commands that change bindings run one after the other, until the connection ends. `false` if
/// another one does not end in time.
pub async fn lock_topology(client: &Client) -> Result<bool, StoreError> {
    let began = Instant::now();
    loop {
        if client.query_one(sql!("lock_topology"), &[]).await?.get(0) {
            return Ok(true);
        }
        if began.elapsed() > LOCK_TIMEOUT {
            return Ok(false);
        }
        sleep(LOCK_PAUSE).await;
    }
}

/// Records another number of partitions. Workers take note with their next heartbeat.
pub async fn update_partitions(client: &Client, partitions: i32) -> Result<(), StoreError> {
    client.execute(sql!("update_partitions"), &[&partitions]).await?;
    Ok(())
}

/// Lets new servers go only to the partitions below a number.
pub async fn update_open_partitions(client: &Client, partitions: i32) -> Result<(), StoreError> {
    client.execute(sql!("update_open_partitions"), &[&partitions]).await?;
    Ok(())
}

/// A partition and what depends on it.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionLine {
    /// Its number.
    pub partition: i32,
    /// Whether new servers may go there.
    pub open: bool,
    /// Number of its servers.
    pub servers: i64,
    /// Reservations of these servers that are not settled.
    pub unsettled: i64,
    /// Its latest wake-up that is still to come.
    pub last_wake_up_at: Option<Timestamp>,
}

/// All partitions, by number.
pub async fn list_partitions(client: &Client) -> Result<Vec<PartitionLine>, StoreError> {
    let rows = client.query(sql!("list_partitions"), &[]).await?;
    Ok(rows
        .iter()
        .map(|row| PartitionLine {
            partition: row.get("partition"),
            open: row.get("open"),
            servers: row.get("servers"),
            unsettled: row.get("unsettled"),
            last_wake_up_at: row.get("last_wake_up_at"),
        })
        .collect())
}

/// A server, where it is, and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub server: String,
    /// The partition that its commands go to.
    pub partition: i32,
    /// Live reservations that are not over.
    pub live: i64,
}

/// Where each server is, by id.
pub async fn list_places(client: &Client) -> Result<Vec<Placed>, StoreError> {
    let rows = client.query(sql!("list_places"), &[]).await?;
    let placed = |row: &tokio_postgres::Row| Placed {
        server: row.get("id"),
        partition: row.get("partition"),
        live: row.get("live"),
    };
    Ok(rows.iter().map(placed).collect())
}

/// The number of partitions that take new servers, once the topology is applied.
pub async fn load_open_partitions(client: &Client) -> Result<i32, StoreError> {
    Ok(client.query_one(sql!("load_open_partitions"), &[]).await?.get(0))
}
