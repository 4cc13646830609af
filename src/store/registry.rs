//! What was set up for workers, as they check it when they start.

use tokio_postgres::Client;

use super::error::StoreError;
use super::sql;
use crate::message::shape::Shape;

/// Returns the applied topology; `None` before it is applied.
pub async fn load_topology(client: &Client) -> Result<Option<Shape>, StoreError> {
    let row = client.query_opt(sql!("load_topology"), &[]).await?;
    Ok(row.map(|row| Shape {
        partitions: row.get(0),
        // The table's check keeps it between 1 and 24.
        delay_levels: row.get::<_, i32>(1).unsigned_abs(),
    }))
}

/// Records the topology unless one is recorded, and returns the recorded one.
pub async fn insert_topology(client: &Client, shape: Shape) -> Result<Shape, StoreError> {
    // Past the largest `integer`, the table's check refuses it all the same.
    let delay_levels = i32::try_from(shape.delay_levels).unwrap_or(i32::MAX);
    client.execute(sql!("insert_topology"), &[&shape.partitions, &delay_levels]).await?;
    Ok(load_topology(client).await?.unwrap_or(shape))
}

/// Whether a terminal of that id is registered.
pub async fn terminal_exists(client: &Client, id: &str) -> Result<bool, StoreError> {
    Ok(client.query_one(sql!("terminal_exists"), &[&id]).await?.get(0))
}
