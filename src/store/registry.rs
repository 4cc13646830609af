//! Setup that workers check at their start.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{Pool, Session, bounded};
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

/// Which installation this database is. A copy of the database has the same id.
pub async fn load_installation(client: &Client) -> Result<Uuid, StoreError> {
    Ok(client.query_one(sql!("load_installation"), &[]).await?.get(0))
}

/// Records the broker account that a worker uses. `false`: it is a terminal's.
pub async fn insert_worker_account(client: &Client, account: &str) -> Result<bool, StoreError> {
    Ok(client.execute(sql!("insert_worker_account"), &[&account]).await? == 1)
}

/// The broker accounts that workers use or used.
pub async fn load_worker_accounts(client: &Client) -> Result<BTreeSet<String>, StoreError> {
    let rows = client.query(sql!("load_worker_accounts"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The same, for a running worker.
pub async fn reload_worker_accounts(pool: &Pool) -> Result<BTreeSet<String>, StoreError> {
    bounded("reading the workers' accounts", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("load_worker_accounts")).await?;
        let rows = session.client().query(&statement, &[]).await?;
        session.finish();
        Ok(rows.iter().map(|row| row.get(0)).collect())
    })
    .await
}
