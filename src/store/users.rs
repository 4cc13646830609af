//! Users with their limits and what they use, and changes to them.

use serde::Serialize;
use tokio_postgres::Client;

use super::error::StoreError;
use crate::domain::id::UserId;
use crate::domain::interval::Timestamp;

/// A user and what it uses at the moment.
#[derive(Debug, Serialize)]
pub struct UserLine {
    /// Its id.
    pub id: String,
    /// Its own limit of reserved time per period; `None`: the policy's default.
    pub quota_seconds: Option<i64>,
    /// Its own limit of unreconfirmed reservations; `None`: the policy's default.
    pub holds_max: Option<i32>,
    /// First instant of the quota period that now is in.
    pub period_start: Timestamp,
    /// First instant after that period.
    pub period_end: Timestamp,
    /// Seconds that may be reserved in a period.
    pub limit_seconds: i64,
    /// Seconds that are reserved in the period that now is in.
    pub used_seconds: i64,
    /// Reservations that may be unreconfirmed at a time.
    pub holds_limit: i32,
    /// Reservations that wait for their reconfirmation.
    pub holds: i64,
    /// Its terminals.
    pub terminals: i64,
}

/// What to change in a user; the outer `None` leaves it as it is, the inner one means the policy's
/// default.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserChange {
    /// See [`UserLine::quota_seconds`].
    pub quota_seconds: Option<Option<i64>>,
    /// See [`UserLine::holds_max`].
    pub holds_max: Option<Option<i32>>,
}

/// Every user, or one, by id.
pub async fn load_users(
    client: &Client,
    user: Option<&UserId>,
) -> Result<Vec<UserLine>, StoreError> {
    let rows = client
        .query(
            "select u.id, u.quota_seconds, u.holds_max, now.period_start, now.period_end,
                 coalesce(u.quota_seconds, policy.quota_default_seconds) as limit_seconds,
                 used_seconds(u.id, now.period_start) as used_seconds,
                 coalesce(u.holds_max, policy.holds_default_max) as holds_limit,
                 u.holds::bigint as holds,
                 (select count(*) from terminals t where t.user_id = u.id) as terminals
             from users u cross join policy cross join
                 (select * from quota_periods(now(), now() + interval '1 microsecond') limit 1) now
             where $1::text is null or u.id = $1
             order by u.id",
            &[&user.map(UserId::as_str)],
        )
        .await?;
    let line = |row: &tokio_postgres::Row| UserLine {
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

/// Changes a user's limits. What is reserved already stays, also beyond them. `false` if there is no
/// such user.
pub async fn update_user(
    client: &Client,
    user: &UserId,
    change: UserChange,
) -> Result<bool, StoreError> {
    let statement = "update users set quota_seconds = case when $2 then $3 else quota_seconds end,
                         holds_max = case when $4 then $5 else holds_max end
                     where id = $1";
    let UserChange { quota_seconds: quota, holds_max: holds } = change;
    let updated = client
        .execute(
            statement,
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
