//! What the database works under: settings, sessions and rights that decisions rest on. It only reads.

use tokio_postgres::Client;

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::{outside, sql};

/// The conditions as one session sees them.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The database's clock.
    pub now: Timestamp,
    /// The server process that answered.
    pub backend: i32,
    /// PostgreSQL's version, for people.
    pub version: String,
    /// The same as PostgreSQL counts: 150018 is 15.18.
    pub version_number: i32,
    /// Whether what is committed survives a crash of the machine.
    pub fsync: bool,
    /// Whether a page survives that was half written then.
    pub full_page_writes: bool,
    /// When a commit is confirmed.
    pub synchronous_commit: String,
    /// Of sessions that do not set it themselves.
    pub isolation: String,
    /// Whether dead rows are cleared away.
    pub autovacuum: bool,
    /// A standby, or a server that takes no writes.
    pub read_only: bool,
    /// Whether this connection is.
    pub encrypted: bool,
    /// Whether this connection does not leave the machine.
    pub is_local: bool,
    /// Most connections of the server.
    pub connections_max: i32,
    /// Connections of the server.
    pub connections: i64,
    /// The database's size.
    pub size_bytes: i64,
    /// Age of the oldest transaction of another session.
    pub transaction_seconds: f64,
    /// Age of the oldest prepared transaction; negative: there is none.
    pub prepared_seconds: f64,
    /// Replication slots that nothing reads.
    pub idle_slots: i64,
    /// Log that is kept for them.
    pub slots_bytes: i64,
}

/// Reads the conditions.
pub async fn load_conditions(client: &Client) -> Result<Conditions, StoreError> {
    let row = client.query_one(sql!("load_conditions"), &[]).await?;
    Ok(Conditions {
        now: row.get("now"),
        backend: row.get("backend"),
        version: row.get("server_version"),
        version_number: row.get("server_version_number"),
        fsync: row.get("fsync"),
        full_page_writes: row.get("full_page_writes"),
        synchronous_commit: row.get("synchronous_commit"),
        isolation: row.get("isolation"),
        autovacuum: row.get("autovacuum"),
        read_only: row.get("read_only"),
        encrypted: row.get("encrypted"),
        is_local: row.get("is_local"),
        connections_max: row.get("connections_max"),
        connections: row.get("connections"),
        size_bytes: row.get("size_bytes"),
        transaction_seconds: row.get("transaction_seconds"),
        prepared_seconds: row.get("prepared_seconds"),
        idle_slots: row.get("idle_slots"),
        slots_bytes: row.get("slots_bytes"),
    })
}

/// A setting that was made for the database or an account.
#[derive(Debug, Clone)]
pub struct OwnSetting {
    /// The account, or `all accounts`.
    pub account: String,
    /// The setting's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Settings of this database and of Holdfast's accounts that decisions rest on.
pub async fn list_own_settings(client: &Client) -> Result<Vec<OwnSetting>, StoreError> {
    let rows = client.query(sql!("list_own_settings"), &[]).await?;
    let setting = |row: &tokio_postgres::Row| OwnSetting {
        account: row.get("account"),
        name: row.get("name"),
        value: row.get("value"),
    };
    Ok(rows.iter().map(setting).collect())
}

/// Rights that recorded workers' accounts lack, as `account: right on table`.
pub async fn list_missing_rights(client: &Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query(sql!("list_missing_rights"), &[]).await?;
    let text = |row: &tokio_postgres::Row| {
        let (account, lacks): (String, String) = (row.get("account"), row.get("lacks"));
        format!("{account}: {lacks}")
    };
    Ok(rows.iter().map(text).collect())
}

/// By how many seconds the database's clock is ahead of what retention believes; negative: behind.
pub async fn load_unbelieved_seconds(client: &Client) -> Result<f64, StoreError> {
    Ok(client.query_one(sql!("load_retention_clock"), &[]).await?.get(0))
}

/// Broker accounts that workers use.
pub async fn list_worker_accounts(client: &Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query(sql!("list_worker_accounts"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Indexes whose collation has changed since they were built, as sentences with the next step.
pub async fn outdated_collations(client: &Client) -> Result<Vec<String>, StoreError> {
    outside::collations(client).await
}

/// What zone rules say otherwise than the stored bounds of quota periods, with the next step.
pub async fn changed_zone_rules(client: &Client) -> Result<Option<String>, StoreError> {
    outside::zone_rules(client).await
}
