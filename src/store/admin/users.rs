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
    /// Its id.
    pub id: String,
    /// Its own limit of reserved time per period; `None`: the policy's default.
    pub quota_seconds: Option<i64>,
    /// Its own limit of held reservations; `None`: the policy's default.
    pub holds_max: Option<i32>,
    /// First instant of the current quota period.
    pub period_start: Timestamp,
    /// First instant after that period.
    pub period_end: Timestamp,
    /// Most reserved seconds in a period.
    pub limit_seconds: i64,
    /// Reserved seconds in the current period.
    pub used_seconds: i64,
    /// Most held reservations.
    pub holds_limit: i32,
    /// Held reservations.
    pub holds: i64,
    /// Number of its terminals.
    pub terminals: i64,
}

/// What to change in a user; the outer `None` leaves a limit as it is, the inner one means the policy's
/// default.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    /// See [`UserLine::quota_seconds`].
    pub quota_seconds: Option<Option<i64>>,
    /// See [`UserLine::holds_max`].
    pub holds_max: Option<Option<i32>>,
}

/// Adds a user; `None` means the policy's default. `false` if there is one of that id.
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

/// Returns one user or all, by id.
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

/// Changes a user's limits. Existing reservations remain, even beyond them. `false` if there is no such
/// user.
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
