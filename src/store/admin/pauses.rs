//! Pauses of deciding. A paused partition has no consumer: its commands and deadlines wait in its queue.

use serde::Serialize;
use tokio_postgres::Client;

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::membership::{ALL, CHANNEL, DEAD_AFTER_SECONDS};
use crate::store::sql;

/// What is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every partition, also those added later.
    All,
    /// One partition.
    Partition(i32),
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scope::All => f.write_str("all partitions"),
            Scope::Partition(partition) => write!(f, "partition {partition}"),
        }
    }
}

impl Scope {
    fn column(self) -> String {
        match self {
            Scope::All => ALL.to_owned(),
            Scope::Partition(partition) => partition.to_string(),
        }
    }

    /// Whether it includes a partition.
    pub fn covers(self, partition: i32) -> bool {
        match self {
            Scope::All => true,
            Scope::Partition(paused) => paused == partition,
        }
    }

    /// The inverse; a CHECK keeps the column readable.
    fn of_column(text: &str) -> Self {
        text.parse().map_or(Scope::All, Scope::Partition)
    }
}

/// A pause, as it is recorded.
#[derive(Debug, Clone, Serialize)]
pub struct Pause {
    #[serde(skip)]
    pub scope: Scope,
    /// `None`: all.
    pub partition: Option<i32>,
    pub why: String,
    pub operator: Option<String>,
    pub paused_at: Timestamp,
}

/// All pauses; that of all partitions is the first.
pub async fn load_pauses(client: &Client) -> Result<Vec<Pause>, StoreError> {
    let rows = client.query(sql!("load_pauses"), &[]).await?;
    let pause = |row: &tokio_postgres::Row| {
        let scope = Scope::of_column(row.get("scope"));
        Pause {
            scope,
            partition: match scope {
                Scope::All => None,
                Scope::Partition(partition) => Some(partition),
            },
            why: row.get("why"),
            operator: row.get("operator"),
            paused_at: row.get("paused_at"),
        }
    };
    Ok(rows.iter().map(pause).collect())
}

/// Workers hear of it at once, and at the latest with their next heartbeat. `false`: paused already.
pub async fn insert_pause(client: &Client, scope: Scope, why: &str) -> Result<bool, StoreError> {
    let added = client.execute(sql!("insert_pause"), &[&scope.column(), &why]).await? == 1;
    notify(client).await?;
    Ok(added)
}

/// `false`: there is no such pause.
pub async fn delete_pause(client: &Client, scope: Scope) -> Result<bool, StoreError> {
    let deleted = client.execute(sql!("delete_pause"), &[&scope.column()]).await? == 1;
    notify(client).await?;
    Ok(deleted)
}

async fn notify(client: &Client) -> Result<(), StoreError> {
    Ok(client.batch_execute(&format!("notify {CHANNEL}")).await?)
}

/// A live worker that has not let go of a partition.
#[derive(Debug)]
pub struct Consuming {
    pub host: String,
    pub pid: i32,
    pub partition: i32,
}

/// Which live workers still decide in these partitions.
pub async fn load_consuming(
    client: &Client,
    partitions: &[i32],
) -> Result<Vec<Consuming>, StoreError> {
    let rows = client.query(sql!("load_consuming"), &[&partitions, &DEAD_AFTER_SECONDS]).await?;
    let consuming = |row: &tokio_postgres::Row| Consuming {
        host: row.get("host"),
        pid: row.get("pid"),
        partition: row.get("partition"),
    };
    Ok(rows.iter().map(consuming).collect())
}

/// For each of these partitions, in order, how many unsettled reservations have a deadline that has passed.
pub async fn count_overdue(client: &Client, partitions: &[i32]) -> Result<Vec<i64>, StoreError> {
    let rows = client.query(sql!("count_overdue"), &[&partitions]).await?;
    Ok(rows.iter().map(|row| row.get("overdue")).collect())
}
