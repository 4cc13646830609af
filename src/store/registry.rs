//! Setup that workers check at their start.

use tokio_postgres::Client;

use super::error::StoreError;
use super::sql;
use crate::message::shape::Shape;

/// The applied topology, if any.
pub async fn load_topology(client: &Client) -> Result<Option<Shape>, StoreError> {
    let row = client.query_opt(sql!("load_topology"), &[]).await?;
    Ok(row.map(|row| Shape {
        partitions: row.get(0),
        // A CHECK keeps it between 1 and 24.
        delay_levels: row.get::<_, i32>(1).unsigned_abs(),
    }))
}

/// Records the topology unless one is recorded; returns the recorded one.
pub async fn insert_topology(client: &Client, shape: Shape) -> Result<Shape, StoreError> {
    // A CHECK refuses `i32::MAX` all the same.
    let delay_levels = i32::try_from(shape.delay_levels).unwrap_or(i32::MAX);
    client.execute(sql!("insert_topology"), &[&shape.partitions, &delay_levels]).await?;
    Ok(load_topology(client).await?.unwrap_or(shape))
}

/// Whether the terminal is registered.
pub async fn terminal_exists(client: &Client, id: &str) -> Result<bool, StoreError> {
    Ok(client.query_one(sql!("terminal_exists"), &[&id]).await?.get(0))
}
