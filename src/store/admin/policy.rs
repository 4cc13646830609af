//! Settings that all replicas share.

use serde::Serialize;
use tokio_postgres::{Client, Row};

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

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
    pub quota_period: Option<String>,
    pub quota_zone: Option<String>,
    pub quota_default_seconds: Option<i64>,
    pub holds_default_max: Option<i32>,
    pub answers_kept_seconds: Option<i64>,
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

pub async fn load_policy(client: &Client) -> Result<Policy, StoreError> {
    Ok(read(&client.query_one(sql!("load_policy"), &[]).await?))
}

/// Names of zones in which quota periods can begin.
pub async fn load_zones(client: &Client) -> Result<Vec<String>, StoreError> {
    let rows = client.query(sql!("load_zones"), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The database spells the zone as its list does, and refuses an unknown one (`22023`).
pub async fn update_policy(client: &Client, change: &PolicyChange) -> Result<Policy, StoreError> {
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
            ],
        )
        .await?;
    Ok(read(&row))
}

/// Sets retention's clock to the database's, and returns its time.
pub async fn believe_clock(client: &Client) -> Result<Timestamp, StoreError> {
    Ok(client.query_one(sql!("update_believed"), &[]).await?.get(0))
}
