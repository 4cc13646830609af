//! Users, their limits and their use.

use serde::Serialize;
use tokio_postgres::{Client, Row};

use crate::domain::id::UserId;
use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::sql;

/// A user and its current use.
#[derive(Debug, Serialize)]
pub struct UserLine {
    /// Id.
    pub id: String,
    /// Own limit per period; `None`: the policy's.
    pub quota_seconds: Option<i64>,
    /// Own limit; `None`: the policy's.
    pub holds_max: Option<i32>,
    /// Start of the current quota period.
    pub period_start: Timestamp,
    /// First instant after it.
    pub period_end: Timestamp,
    /// Effective limit per period.
    pub limit_seconds: i64,
    /// Reserved in the current period.
    pub used_seconds: i64,
    /// Effective limit.
    pub holds_limit: i32,
    /// Held reservations.
    pub holds: i64,
    /// Registered terminals.
    pub terminals: i64,
}

/// Outer `None`: unchanged; inner `None`: the policy's default.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    /// See [`UserLine::quota_seconds`].
    pub quota_seconds: Option<Option<i64>>,
    /// See [`UserLine::holds_max`].
    pub holds_max: Option<Option<i32>>,
}

/// `None`: the policy's default. `false`: the id exists.
pub async fn insert_user(
    client: &Client,
    user: &UserId,
    quota_seconds: Option<i64>,
    holds_max: Option<i32>,
) -> Result<bool, StoreError> {
    let inserted =
        client.execute(sql!("insert_user"), &[&user.as_str(), &quota_seconds, &holds_max]).await?;
    Ok(inserted == 1)
}

/// One user or all, by id.
pub async fn list_users(
    client: &Client,
    user: Option<&UserId>,
) -> Result<Vec<UserLine>, StoreError> {
    let rows = client.query(sql!("list_users"), &[&user.map(UserId::as_str)]).await?;
    let line = |row: &Row| UserLine {
        id: row.get("id"),
        quota_seconds: row.get("quota_seconds"),
        holds_max: row.get("holds_max"),
        period_start: row.get("period_start"),
        period_end: row.get("period_end"),
        limit_seconds: row.get("limit_seconds"),
        used_seconds: row.get("used_seconds"),
        holds_limit: row.get("holds_limit"),
        holds: row.get("holds"),
        terminals: row.get("terminals"),
    };
    Ok(rows.iter().map(line).collect())
}

/// Existing reservations remain, even beyond the new limits. `false`: unknown user.
pub async fn update_user(
    client: &Client,
    user: &UserId,
    change: UserChange,
) -> Result<bool, StoreError> {
    let UserChange { quota_seconds: quota, holds_max: holds } = change;
    let updated = client
        .execute(
            sql!("update_user"),
            &[
                &user.as_str(),
                &quota.is_some(),
                &quota.flatten(),
                &holds.is_some(),
                &holds.flatten(),
            ],
        )
        .await?;
    Ok(updated == 1)
}
