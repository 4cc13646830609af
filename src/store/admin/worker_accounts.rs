//! Broker accounts that workers use or used.

use tokio_postgres::Client;

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// A recorded account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerAccount {
    /// A worker may use it.
    InUse,
    /// It was removed. What it has published may still arrive.
    Retired,
}

/// Finds an account among those that workers use or used.
pub async fn load(client: &Client, account: &str) -> Result<Option<WorkerAccount>, StoreError> {
    let row = client.query_opt(sql!("load_worker_account"), &[&account]).await?;
    Ok(row.map(|row| match row.get::<_, Option<Timestamp>>("retired_at") {
        None => WorkerAccount::InUse,
        Some(_) => WorkerAccount::Retired,
    }))
}

/// Notes that an account is gone.
pub async fn retire(client: &Client, account: &str) -> Result<(), StoreError> {
    client.execute(sql!("update_retired"), &[&account]).await?;
    Ok(())
}
