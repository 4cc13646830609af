//! Settings that all replicas share.

use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row};

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// `day`, `week` or `month`.
    pub quota_period: String,
    /// IANA zone in which periods begin.
    pub quota_zone: String,
    /// Default per user and period.
    pub quota_default_seconds: i64,
    /// Default per user.
    pub holds_default_max: i32,
    /// Seconds for which a repeated message id gets its stored answer.
    pub answers_kept_seconds: i64,
    /// Seconds that reservations are kept after their end, and messages after their creation.
    pub reservations_kept_seconds: i64,
    /// Commands per second, partition and terminal; `None`: no limit.
    pub terminal_rate_max: Option<i32>,
    /// Queries per second, worker and terminal; `None`: no limit.
    pub query_rate_max: Option<i32>,
}

/// Changes to [`Policy`]; `None` leaves a setting as is.
#[derive(Debug, Clone, Default)]
pub struct PolicyChange {
    /// See [`Policy::quota_period`].
    pub quota_period: Option<String>,
    /// See [`Policy::quota_zone`]; in any case of letters.
    pub quota_zone: Option<String>,
    /// See [`Policy::quota_default_seconds`].
    pub quota_default_seconds: Option<i64>,
    /// See [`Policy::holds_default_max`].
    pub holds_default_max: Option<i32>,
    /// See [`Policy::answers_kept_seconds`].
    pub answers_kept_seconds: Option<i64>,
    /// See [`Policy::reservations_kept_seconds`].
    pub reservations_kept_seconds: Option<i64>,
    /// 0 removes the limit.
    pub terminal_rate_max: Option<i32>,
    /// 0 removes the limit.
    pub query_rate_max: Option<i32>,
}

fn read(row: &Row) -> Policy {
    Policy {
        quota_period: row.get("quota_period"),
        quota_zone: row.get("quota_zone"),
        quota_default_seconds: row.get("quota_default_seconds"),
        holds_default_max: row.get("holds_default_max"),
        answers_kept_seconds: row.get("answers_kept_seconds"),
        reservations_kept_seconds: row.get("reservations_kept_seconds"),
        terminal_rate_max: row.get("terminal_rate_max"),
        query_rate_max: row.get("query_rate_max"),
    }
}

/// The policy in force.
pub async fn load_policy(client: &Client) -> Result<Policy, StoreError> {
    Ok(read(&client.query_one(sql!("load_policy"), &[]).await?))
}

/// Names of zones in which quota periods can begin.
pub async fn load_zones(client: &Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query(sql!("load_zones"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Applies a change. One of the quota's period or zone by itself would count all use anew while decisions wait;
/// [`recount`](super::recount) does it in steps.
pub async fn update_policy(client: &Client, change: &PolicyChange) -> Result<Policy, StoreError> {
    change_policy(client, change, None).await
}

/// Applies a change and takes it back, to learn whether the database refuses it.
pub async fn try_policy(client: &mut Client, change: &PolicyChange) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    change_policy(&transaction, change, None).await?;
    Ok(transaction.rollback().await?)
}

/// With the generation whose use is counted by the new period and zone, if they change.
pub(super) async fn change_policy(
    client: &impl GenericClient,
    change: &PolicyChange,
    generation: Option<i64>,
) -> Result<Policy, StoreError> {
    let row = client
        .query_one(
            sql!("update_policy"),
            &[
                &change.quota_period,
                &change.quota_zone,
                &change.quota_default_seconds,
                &change.holds_default_max,
                &change.answers_kept_seconds,
                &change.reservations_kept_seconds,
                &change.terminal_rate_max,
                &change.query_rate_max,
                &generation,
            ],
        )
        .await?;
    Ok(read(&row))
}

/// Sets retention's clock to the database's, and returns its time.
pub async fn believe_clock(client: &Client) -> Result<Timestamp, StoreError> {
    Ok(client.query_one(sql!("update_believed"), &[]).await?.get(0))
}
