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

/// A broker account of workers.
#[derive(Debug)]
pub struct Used {
    /// Its name.
    pub name: String,
    /// When a worker first started with it.
    pub added_at: Timestamp,
    /// When a worker last started with it.
    pub used_at: Timestamp,
    /// When it was removed; `None`: in use.
    pub retired_at: Option<Timestamp>,
}

/// All that workers use or used; the retired ones are the last.
pub async fn list(client: &Client) -> Result<Vec<Used>, StoreError> {
    let rows = client.query(sql!("list_used_accounts"), &[]).await?;
    let used = |row: &tokio_postgres::Row| Used {
        name: row.get("name"),
        added_at: row.get("added_at"),
        used_at: row.get("used_at"),
        retired_at: row.get("retired_at"),
    };
    Ok(rows.iter().map(used).collect())
}
