//! The settings that all replicas share.

use serde::Serialize;
use tokio_postgres::{Client, Row};

use crate::store::error::StoreError;
use crate::store::sql;

/// The policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Calendar period of the quota: `day`, `week` or `month`.
    pub quota_period: String,
    /// IANA zone in which periods begin.
    pub quota_zone: String,
    /// Seconds per period for users without a limit of their own.
    pub quota_default_seconds: i64,
    /// Most held reservations for users without a limit of their own.
    pub holds_default_max: i32,
    /// Seconds for which a repeated message id gets its stored answer.
    pub answers_kept_seconds: i64,
    /// Seconds after its end for which a reservation and its messages are kept.
    pub reservations_kept_seconds: i64,
    /// Most commands per second and partition from one terminal; `None`: no limit.
    pub terminal_rate_max: Option<i32>,
}

/// What to change in the policy; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct PolicyChange {
    /// See [`Policy::quota_period`].
    pub quota_period: Option<String>,
    /// See [`Policy::quota_zone`].
    pub quota_zone: Option<String>,
    /// See [`Policy::quota_default_seconds`].
    pub quota_default_seconds: Option<i64>,
    /// See [`Policy::holds_default_max`].
    pub holds_default_max: Option<i32>,
    /// See [`Policy::answers_kept_seconds`].
    pub answers_kept_seconds: Option<i64>,
    /// See [`Policy::reservations_kept_seconds`].
    pub reservations_kept_seconds: Option<i64>,
    /// See [`Policy::terminal_rate_max`]; 0 removes the limit.
    pub terminal_rate_max: Option<i32>,
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
    }
}

/// Reads the policy.
pub async fn load_policy(client: &Client) -> Result<Policy, StoreError> {
    Ok(read(&client.query_one(sql!("load_policy"), &[]).await?))
}

/// Changes the policy and returns the new one. The database refuses a zone that it does not know
/// (`22023`).
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
            ],
        )
        .await?;
    Ok(read(&row))
}
