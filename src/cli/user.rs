//! `holdfast user`.

use std::str::FromStr;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::exit::{refusal, refuse};
use super::output::{Csv, fields, table, time};
use crate::domain::id::UserId;
use crate::store::admin::users::{self, UserChange, UserLine};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add {
        /// Id: 1 to 64 characters of a-z, 0-9 and '-'
        id: UserId,
        /// Time that may be reserved per quota period; default: the policy's
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
        quota_seconds: Option<i64>,
        /// Reservations that may be unreconfirmed at a time; default: the policy's
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        holds_max: Option<i32>,
    },
    /// List the users, with their limits and what they use now
    ///
    /// USED: seconds reserved in the current quota period, of the limit in QUOTA. HELD: reservations
    /// not yet reconfirmed, of the limit in HOLDS. A limit with a * is the policy's default.
    List(Csv),
    /// Change a user's limits
    ///
    /// Affects new requests only: reservations stay, also beyond a lower limit.
    #[command(after_help = "\
Example: ten hours per period, and as many holds as everybody
  holdfast user set alice --quota-seconds 36000 --holds-max default")]
    Set {
        /// The user's id
        id: UserId,
        #[command(flatten)]
        limits: Limits,
    },
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Limits {
    /// Time that may be reserved per quota period, or `default` for the policy's
    #[arg(long, value_name = "SECONDS|default")]
    quota_seconds: Option<Limit<i64, 0>>,
    /// Reservations that may be unreconfirmed at a time, or `default` for the policy's
    #[arg(long, value_name = "N|default")]
    holds_max: Option<Limit<i32, 1>>,
}

/// A user's own limit, at least `MIN`; `None` is the policy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit<T, const MIN: i32>(Option<T>);

impl<T: FromStr + PartialOrd + From<i32>, const MIN: i32> FromStr for Limit<T, MIN> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Self(None));
        }
        let number = text.parse().ok().filter(|number| *number >= T::from(MIN));
        let number = number.ok_or_else(|| format!("a whole number from {MIN} on, or `default`"))?;
        Ok(Self(Some(number)))
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add { id, quota_seconds, holds_max } => {
            add(context, &id, quota_seconds, holds_max).await
        }
        Command::List(csv) => list(context, csv).await,
        Command::Set { id, limits } => set(context, &id, limits).await,
    }
}

async fn add(
    context: &Context,
    id: &UserId,
    quota_seconds: Option<i64>,
    holds_max: Option<i32>,
) -> Result<()> {
    let client = context.database().await?;
    let inserted = users::insert_user(&client, id, quota_seconds, holds_max).await;
    if !inserted.map_err(refusal)? {
        return refuse(format!("user {id}: exists already; change it with `holdfast user set`"));
    }
    context.output.print(&json!({ "user": id.as_str() }), || format!("added user {id}"))
}

/// The fields of a [`UserLine`].
const FIELDS: [&str; 10] = [
    "id",
    "quota_seconds",
    "holds_max",
    "period_start",
    "period_end",
    "limit_seconds",
    "used_seconds",
    "holds_limit",
    "holds",
    "terminals",
];

async fn list(context: &Context, csv: Csv) -> Result<()> {
    let client = context.database().await?;
    let users = users::list_users(&client, None).await?;
    context.output.list(csv, &FIELDS, &users, || {
        let header = ["ID", "USED", "QUOTA", "UNTIL", "HELD", "HOLDS", "TERMINALS"];
        table(&header, &users.iter().map(row).collect::<Vec<_>>())
    })
}

fn row(user: &UserLine) -> Vec<String> {
    vec![
        user.id.clone(),
        user.used_seconds.to_string(),
        starred(user.limit_seconds, user.quota_seconds.is_none()),
        time(user.period_end),
        user.holds.to_string(),
        starred(user.holds_limit, user.holds_max.is_none()),
        user.terminals.to_string(),
    ]
}

fn starred(limit: impl std::fmt::Display, by_policy: bool) -> String {
    format!("{limit}{}", if by_policy { "*" } else { "" })
}

async fn set(context: &Context, id: &UserId, limits: Limits) -> Result<()> {
    let change = UserChange {
        quota_seconds: limits.quota_seconds.map(|limit| limit.0),
        holds_max: limits.holds_max.map(|limit| limit.0),
    };
    let client = context.database().await?;
    let updated = users::update_user(&client, id, change).await.map_err(refusal)?;
    let user = users::list_users(&client, Some(id)).await?.pop().filter(|_| updated);
    let Some(user) = user else {
        return refuse(format!("user {id}: unknown; list users with `holdfast user list`"));
    };
    context.output.print(&user, || {
        let by = |own: bool| if own { "" } else { ", the policy's default" };
        let quota = format!(
            "{} s per period{}; {} s reserved until {}",
            user.limit_seconds,
            by(user.quota_seconds.is_some()),
            user.used_seconds,
            time(user.period_end),
        );
        let holds = by(user.holds_max.is_some());
        let holds = format!("{} at a time{holds}; {} now", user.holds_limit, user.holds);
        fields(&[("user", user.id.clone()), ("quota", quota), ("holds", holds)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_the_default() {
        assert_eq!("default".parse(), Ok(Limit::<i64, 0>(None)));
        assert_eq!("0".parse(), Ok(Limit::<i64, 0>(Some(0))));
        assert_eq!("7".parse(), Ok(Limit::<i32, 1>(Some(7))));
        for bad in ["", "0", "-1", "1.5", "many", "99999999999"] {
            assert!(bad.parse::<Limit<i32, 1>>().is_err(), "{bad}");
        }
    }
}
