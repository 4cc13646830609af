//! Which installation a database is.

use tokio_postgres::Client;
use uuid::Uuid;

use super::status::{WorkerLine, list_workers};
use crate::store::error::StoreError;
use crate::store::sql;

/// The id that an installation had, and the one that it has.
#[derive(Debug, Clone, Copy)]
pub struct Renewed {
    pub former: Uuid,
    pub id: Uuid,
}

/// Gives the database an id of its own, unless workers live, which go by the former one: these are returned, and
/// nothing has changed. A worker that starts meanwhile sends its first heartbeat afterwards.
pub async fn renew(client: &mut Client) -> Result<Result<Renewed, Vec<WorkerLine>>, StoreError> {
    let transaction = client.transaction().await?;
    transaction.execute(sql!("lock_heartbeats"), &[]).await?;
    let mut workers = list_workers(&transaction).await?;
    workers.retain(|worker| worker.live);
    if !workers.is_empty() {
        transaction.rollback().await?;
        return Ok(Err(workers));
    }
    let row = transaction.query_one(sql!("renew_installation"), &[]).await?;
    let renewed = Renewed { former: row.get("former"), id: row.get("id") };
    transaction.commit().await?;
    Ok(Ok(renewed))
}
