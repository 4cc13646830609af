//! `holdfast user`.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::exit::{CliError, refusal, refuse};
use super::history;
use super::output::{Csv, fields, table, time};
use super::range::within;
use super::recount;
use crate::domain::bounds::{self, Bounds};
use crate::domain::id::UserId;
use crate::store::admin::users::{self, UserChange, UserLine};
use crate::store::outside;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add {
        /// Id: 1 to 64 characters of a-z, 0-9 and '-'
        id: UserId,
        /// Time that may be reserved per quota period; default: the policy's
        #[arg(long, value_name = "SECONDS", value_parser = within::<i64>(bounds::QUOTA_SECONDS))]
        quota_seconds: Option<i64>,
        /// Reservations that may be unreconfirmed at a time; default: the policy's
        #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::HOLDS))]
        holds_max: Option<i32>,
    },
    /// List the users, with their limits and what they use now
    ///
    /// USED: seconds reserved in the current quota period, of the limit in QUOTA. HELD: reservations
    /// not yet reconfirmed, of the limit in HOLDS. A limit with a * is the policy's default.
    List(Csv),
    /// Show who changed a user and its terminals
    History {
        /// The user's id
        id: UserId,
    },
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
    /// Count everybody's use anew, by the zone rules that PostgreSQL has now
    ///
    /// Quota periods begin when they were first stored to begin, also after new zone rules. Run this when
    /// the database's server, and all its sessions, have the new rules. Decisions go on, and the new counts come
    /// into force at the end. Interrupted, run it again: it goes on where it stopped.
    Recount {
        /// Change nothing; exit with 3 if the zone rules have changed
        #[arg(long)]
        check: bool,
        /// Give up the count that is under way, of `user recount` or `policy set`; what was in force stays
        #[arg(long, conflicts_with = "check")]
        abandon: bool,
    },
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Limits {
    /// Time that may be reserved per quota period, or `default` for the policy's
    #[arg(long, value_name = "SECONDS|default", value_parser = quota_limit)]
    quota_seconds: Option<Limit<i64>>,
    /// Reservations that may be unreconfirmed at a time, or `default` for the policy's
    #[arg(long, value_name = "N|default", value_parser = holds_limit)]
    holds_max: Option<Limit<i32>>,
}

/// A user's own limit; `None` is the policy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit<T>(Option<T>);

fn limit<T: TryFrom<i64>>(text: &str, bounds: Bounds) -> Result<Limit<T>, String> {
    if text == "default" {
        return Ok(Limit(None));
    }
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
        format!("a whole number from {} to {}, or `default`", bounds.start(), bounds.end())
    })?;
    Ok(Limit(Some(number)))
}

fn quota_limit(text: &str) -> Result<Limit<i64>, String> {
    limit(text, bounds::QUOTA_SECONDS)
}

fn holds_limit(text: &str) -> Result<Limit<i32>, String> {
    limit(text, bounds::HOLDS)
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add { id, quota_seconds, holds_max } => {
            add(context, &id, quota_seconds, holds_max).await
        }
        Command::List(csv) => list(context, csv).await,
        Command::History { id } => history::user(context, &id).await,
        Command::Set { id, limits } => set(context, &id, limits).await,
        Command::Recount { abandon: true, .. } => abandon(context).await,
        Command::Recount { check, .. } => count_anew(context, check).await,
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

async fn count_anew(context: &Context, check: bool) -> Result<()> {
    let client = context.database().await?;
    let changed = outside::zone_rules(&client).await?;
    if !check {
        recount::for_zone_rules(context, client).await?;
    } else if let Some(changed) = changed {
        return Err(CliError::CheckFailed(changed).into());
    }
    context.output.print(&json!({ "recounted": !check }), || match check {
        true => "the zone rules have not changed".to_owned(),
        false => "counted everybody's use anew".to_owned(),
    })
}

async fn abandon(context: &Context) -> Result<()> {
    let abandoned = recount::abandon(&context.database().await?).await?;
    context.output.print(&json!({ "abandoned": abandoned }), || match abandoned {
        true => "abandoned the count; what was in force stays".to_owned(),
        false => "no count is under way".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_the_default() {
        assert_eq!(quota_limit("default"), Ok(Limit(None)));
        assert_eq!(quota_limit("0"), Ok(Limit(Some(0))));
        assert_eq!(quota_limit("1000000000000"), Ok(Limit(Some(1_000_000_000_000))));
        assert!(quota_limit("1000000000001").is_err());
        assert_eq!(holds_limit("7"), Ok(Limit(Some(7))));
        for bad in ["", "0", "-1", "1.5", "many", "1000001", "99999999999"] {
            assert!(holds_limit(bad).is_err(), "{bad}");
        }
    }
}
