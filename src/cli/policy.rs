//! `holdfast policy`.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use strum::Display;
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

use super::context::Context;
use super::exit::refusal;
use super::output::fields;
use crate::store::admin::policy::{self, Policy, PolicyChange};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the policy
    Show,
    /// Change the policy; affects new requests only
    ///
    /// Another quota period or zone counts all reservations that are kept anew, in one transaction.
    /// Decisions wait until it is done: about 15 seconds per million reservations. Interrupted, it
    /// changes nothing.
    Set(Set),
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Set {
    /// Calendar period in which reserved time is counted
    #[arg(long, value_name = "PERIOD")]
    quota_period: Option<Period>,
    /// IANA zone in which periods begin, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    quota_zone: Option<String>,
    /// Time per period for users without a limit of their own
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
    quota_default_seconds: Option<i64>,
    /// Unreconfirmed reservations at a time for users without a limit of their own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    holds_default_max: Option<i32>,
    /// How long the answer to a message id can be repeated
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(1..=36_500))]
    answers_kept_days: Option<i64>,
    /// How long after its end a reservation is kept; not shorter than the answers, and at least 40
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(40..=36_500))]
    reservations_kept_days: Option<i64>,
    /// Commands per second that one terminal may send to one partition; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    terminal_rate_max: Option<i32>,
    /// Queries per second that one terminal may send to each worker; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    query_rate_max: Option<i32>,
}

const DAY_SECONDS: i64 = 86_400;

#[derive(Clone, Copy, ValueEnum, Display)]
#[strum(serialize_all = "snake_case")]
enum Period {
    Day,
    Week,
    Month,
}

/// Tries to lock. Each waits for `lock_timeout`, five seconds, while decisions queue behind it.
const TRIES_MAX: u32 = 20;

/// Between two tries, for decisions to go on.
const PAUSE: Duration = Duration::from_secs(2);

/// Between two lines about a count that goes on.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.database().await?;
    let policy = match command {
        Command::Show => policy::load_policy(&client).await?,
        Command::Set(set) => {
            let counts = set.quota_period.is_some() || set.quota_zone.is_some();
            let changing = update(&client, change(set));
            if counts { with_progress(changing).await? } else { changing.await? }
        }
    };
    context.output.print(&policy, || text(&policy))
}

/// Retries a change that only a lock stopped.
async fn update(client: &Client, change: PolicyChange) -> Result<Policy> {
    let mut tries = 1;
    loop {
        match policy::update_policy(client, &change).await {
            Err(error) if error.is_contention() && tries < TRIES_MAX => {
                eprintln!("the reservations are locked by another transaction; trying again");
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome.map_err(refusal),
        }
    }
}

/// Says from time to time that it goes on.
async fn with_progress<T>(work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let mut work = std::pin::pin!(work);
    loop {
        match timeout(PROGRESS_INTERVAL, &mut work).await {
            Ok(done) => return done,
            Err(_) => eprintln!(
                "counting all reservations anew, for {} s so far; decisions wait until it is done, \
                 and Ctrl-C undoes it",
                began.elapsed().as_secs()
            ),
        }
    }
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
