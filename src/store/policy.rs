//! The policy that is one for all replicas.

use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::error::StoreError;

/// The policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Calendar period of the quota: `day`, `week` or `month`.
    pub quota_period: String,
    /// IANA zone in which periods begin.
    pub quota_zone: String,
    /// Seconds per period of a user without a limit of its own.
    pub quota_default_seconds: i64,
    /// Unreconfirmed reservations of a user without a limit of its own.
    pub holds_default_max: i32,
    /// Seconds for which a message id gets its answer again.
    pub answers_kept_seconds: i64,
    /// Seconds after its end for which a reservation is kept, with what was told about it.
    pub reservations_kept_seconds: i64,
    /// Most commands per second that a partition takes from one terminal.
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
    /// See [`Policy::terminal_rate_max`]; 0 takes the limit away.
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
    Ok(read(&client.query_one("select * from policy", &[]).await?))
}

/// Changes the policy and returns it as it is then. The database refuses (`22023`) a zone that it
/// does not know.
pub async fn update_policy(client: &Client, change: &PolicyChange) -> Result<Policy, StoreError> {
    let row = client
        .query_one(
            "update policy set quota_period = coalesce($1, quota_period),
                 quota_zone = coalesce($2, quota_zone),
                 quota_default_seconds = coalesce($3, quota_default_seconds),
                 holds_default_max = coalesce($4, holds_default_max),
                 answers_kept_seconds = coalesce($5, answers_kept_seconds),
                 reservations_kept_seconds = coalesce($6, reservations_kept_seconds),
                 terminal_rate_max = nullif(coalesce($7, terminal_rate_max), 0)
             returning *",
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
