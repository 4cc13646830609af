//! `holdfast policy`.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use strum::Display;
use tokio_postgres::error::SqlState;

use super::context::Context;
use super::exit::{refusal, refuse};
use super::history;
use super::output::{fields, time};
use super::range::within;
use super::recount;
use crate::domain::bounds::{self, Bounds, DAY_SECONDS};
use crate::store::admin::policy::{self, Policy, PolicyChange};
use crate::store::error::StoreError;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the policy
    Show,
    /// Show who changed the policy and the number of partitions
    History,
    /// Change the policy; affects new requests only
    ///
    /// Another quota period or zone counts all reservations that are kept anew: less than a minute per million.
    /// Decisions go on, and the whole change comes into force at the end. Interrupted, it changes nothing
    /// yet: run the same command again, and it goes on where it stopped, or abandon it with
    /// `holdfast user recount --abandon`.
    Set(Set),
    /// Let retention go by the database's clock as it is now
    ///
    /// Retention follows that clock only as fast as time passes, and catches up slowly after a pause or a
    /// jump, since a wrong clock would have it delete what is needed. Look at the clock first: what is older
    /// than the policy keeps, by that clock, is deleted for good.
    BelieveClock,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Set {
    /// Calendar period in which reserved time is counted
    #[arg(long, value_name = "PERIOD")]
    quota_period: Option<Period>,
    /// IANA zone in which periods begin: UTC, or a name with its area, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    quota_zone: Option<String>,
    /// Time per period for users without a limit of their own
    #[arg(long, value_name = "SECONDS", value_parser = within::<i64>(bounds::QUOTA_SECONDS))]
    quota_default_seconds: Option<i64>,
    /// Unreconfirmed reservations at a time for users without a limit of their own
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::HOLDS))]
    holds_default_max: Option<i32>,
    /// How long the answer to a message id can be repeated
    #[arg(long, value_name = "DAYS", value_parser = within::<i64>(in_days(&bounds::ANSWERS_KEPT_SECONDS)))]
    answers_kept_days: Option<i64>,
    /// How long after its end a reservation is kept; not shorter than the answers, and at least 40
    #[arg(long, value_name = "DAYS", value_parser = within::<i64>(in_days(&bounds::RESERVATIONS_KEPT_SECONDS)))]
    reservations_kept_days: Option<i64>,
    /// Commands per second that one terminal may send to one partition; 0: no limit
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::or_zero(&bounds::MESSAGE_RATE)))]
    terminal_rate_max: Option<i32>,
    /// Queries per second that one terminal may send to each worker; 0: no limit
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::or_zero(&bounds::MESSAGE_RATE)))]
    query_rate_max: Option<i32>,
}

fn in_days(seconds: &Bounds) -> Bounds {
    seconds.start() / DAY_SECONDS..=seconds.end() / DAY_SECONDS
}

#[derive(Clone, Copy, ValueEnum, Display)]
#[strum(serialize_all = "snake_case")]
enum Period {
    Day,
    Week,
    Month,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let policy = match command {
        Command::History => return history::policy(context).await,
        Command::Show => {
            let client = context.database().await?;
            recount::hint_under_way(&client).await?;
            policy::load_policy(&client).await?
        }
        Command::Set(set) => update(context, change(set)).await?,
        Command::BelieveClock => {
            let now = time(policy::believe_clock(&context.database().await?).await?);
            let text = || format!("retention goes by the database's clock: {now}");
            return context.output.print(&json!({ "believed_at": now }), text);
        }
    };
    context.output.print(&policy, || text(&policy))
}

/// Changes another period or zone in steps, everything else at once.
async fn update(context: &Context, change: PolicyChange) -> Result<Policy> {
    let client = context.database().await?;
    if change.quota_period.is_none() && change.quota_zone.is_none() {
        return policy::update_policy(&client, &change).await.map_err(refusal);
    }
    match recount::for_policy(context, client, &change).await {
        Ok(policy) => Ok(policy),
        Err(error) => Err(refused(context, &change, error).await?),
    }
}

/// Names zones near a wrong one.
async fn refused(
    context: &Context,
    change: &PolicyChange,
    error: anyhow::Error,
) -> Result<anyhow::Error> {
    let error = match error.downcast::<StoreError>() {
        Ok(error) => error,
        Err(other) => return Ok(other),
    };
    let wrong = change.quota_zone.as_ref();
    let Some(zone) =
        wrong.filter(|_| error.sql_state() == Some(&SqlState::INVALID_PARAMETER_VALUE))
    else {
        return Ok(refusal(error));
    };
    let zones = policy::load_zones(&context.database().await?).await?;
    let near = match nearest(zone, zones) {
        near if near.is_empty() => String::new(),
        near => format!(". Near it: {}", near.join(", ")),
    };
    refuse(format!(
        "quota zone {zone:?}: unknown; give UTC or an IANA name with its area, such as \
         Europe/Berlin{near}"
    ))
}

/// Names to suggest for a wrong one.
const SUGGESTIONS: usize = 3;

/// How like a suggested name is at least; 1 is the same.
const LIKENESS_MIN: f64 = 0.8;

/// The names most like `wrong`, by their city or as a whole.
fn nearest(wrong: &str, names: Vec<String>) -> Vec<String> {
    let wrong = wrong.to_lowercase().replace(' ', "_");
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let city = name.rsplit('/').next().unwrap_or(&name);
        strsim::jaro_winkler(&wrong, &name).max(strsim::jaro_winkler(&wrong, city))
    };
    let mut names: Vec<(f64, String)> =
        names.into_iter().map(|name| (likeness(&name), name)).collect();
    names.retain(|(likeness, _)| *likeness >= LIKENESS_MIN);
    names.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
    names.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

fn change(set: Set) -> PolicyChange {
    PolicyChange {
        quota_period: set.quota_period.map(|period| period.to_string()),
        quota_zone: set.quota_zone,
        quota_default_seconds: set.quota_default_seconds,
        holds_default_max: set.holds_default_max,
        answers_kept_seconds: set.answers_kept_days.map(|days| days * DAY_SECONDS),
        reservations_kept_seconds: set.reservations_kept_days.map(|days| days * DAY_SECONDS),
        terminal_rate_max: set.terminal_rate_max,
        query_rate_max: set.query_rate_max,
    }
}

fn text(policy: &Policy) -> String {
    fields(&[
        ("quota period", policy.quota_period.clone()),
        ("quota zone", policy.quota_zone.clone()),
        (
            "default quota",
            format!("{} s per {}", policy.quota_default_seconds, policy.quota_period),
        ),
        ("default holds", policy.holds_default_max.to_string()),
        ("answers kept", days(policy.answers_kept_seconds)),
        (
            "reservations kept",
            format!("{} after their end", days(policy.reservations_kept_seconds)),
        ),
        ("terminal rate", rate(policy.terminal_rate_max, "commands per second and partition")),
        ("query rate", rate(policy.query_rate_max, "queries per second and worker")),
    ])
}

fn rate(limit: Option<i32>, unit: &str) -> String {
    limit.map_or("no limit".to_owned(), |limit| format!("{limit} {unit}"))
}

fn days(seconds: i64) -> String {
    format!("{} days", seconds / DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_zone_has_near_ones() {
        let names = ["America/New_York", "Europe/Berlin", "Europe/Bern", "Europe/Paris", "UTC"];
        for (wrong, near) in [
            ("Berlin", "Europe/Berlin"),
            ("europe/berlim", "Europe/Berlin"),
            ("new york", "America/New_York"),
            ("UTC+2", "UTC"),
        ] {
            let found = nearest(wrong, names.map(str::to_owned).to_vec());
            assert_eq!(found.first().map(String::as_str), Some(near), "{wrong}");
        }
    }
}
