//! What was set up for workers, as they check it when they start.

use tokio_postgres::Client;

use super::error::StoreError;
use super::sql;

/// The broker topology as applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopologyShape {
    /// Number of partitions.
    pub partitions: i32,
    /// Levels of the delay ladder.
    pub delay_levels: i32,
}

/// Returns the applied topology; `None` before it is applied.
pub async fn load_topology(client: &Client) -> Result<Option<TopologyShape>, StoreError> {
    let row = client.query_opt(sql!("load_topology"), &[]).await?;
    Ok(row.map(|row| TopologyShape { partitions: row.get(0), delay_levels: row.get(1) }))
}

/// Records the topology unless one is recorded, and returns the recorded one.
pub async fn insert_topology(
    client: &Client,
    shape: TopologyShape,
) -> Result<TopologyShape, StoreError> {
    client.execute(sql!("insert_topology"), &[&shape.partitions, &shape.delay_levels]).await?;
    Ok(load_topology(client).await?.unwrap_or(shape))
}

/// Whether a terminal of that id is registered.
pub async fn terminal_exists(client: &Client, id: &str) -> Result<bool, StoreError> {
    Ok(client.query_one(sql!("terminal_exists"), &[&id]).await?.get(0))
}
