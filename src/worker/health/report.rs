//! What `/live` and `/ready` say.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta};
use serde::Serialize;
use strum::VariantArray;

use super::check::{Check, Wrong};
use crate::store::membership::{DEAD_AFTER_SECONDS, Paused};
use crate::worker::context::Context;

/// The body of `/live`.
#[derive(Debug, Serialize)]
pub struct Live {
    /// Whether all of the worker's tasks run.
    pub live: bool,
    /// What only a new process heals.
    pub wrong: Vec<Finding>,
}

/// The body of `/ready`.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// Whether every check passes. A pause is on purpose, and changes nothing here.
    pub ready: bool,
    /// What operators have paused.
    pub paused: Vec<Pause>,
    /// Every check.
    pub checks: Vec<Seen>,
}

/// A check, with what was seen.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// Its name.
    pub check: &'static str,
    /// Whether it passes.
    pub ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<Finding>,
}

/// A pause of deciding.
#[derive(Debug, Serialize)]
pub struct Pause {
    /// `None`: every partition.
    pub partition: Option<i32>,
    /// As the operator said.
    pub why: String,
    /// By the database's clock.
    pub since: String,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// Since when, by the database's clock as far as the worker knows it.
    pub since: String,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// Whether the worker's tasks run.
pub fn live(context: &Context) -> Live {
    let dead = context.tasks.dead(Instant::now());
    Live { live: dead.is_empty(), wrong: findings(context, dead) }
}

/// Whether the worker can do its work.
pub fn ready(context: &Context) -> Ready {
    let checks: Vec<Seen> = Check::VARIANTS.iter().map(|check| seen(context, *check)).collect();
    Ready { ready: checks.iter().all(|seen| seen.ok), paused: pauses(context), checks }
}

fn pauses(context: &Context) -> Vec<Pause> {
    let pause = |Paused { partition, why, since }: Paused| {
        let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        Pause { partition, why, since }
    };
    context.partitions.paused().into_iter().map(pause).collect()
}

fn seen(context: &Context, check: Check) -> Seen {
    let mut wrong: Vec<Wrong> = context.checks.seen(check).into_iter().collect();
    match check {
        Check::Database if wrong.is_empty() => wrong.extend(silent(context)),
        Check::Partitions => {
            let partitions = context.partitions.wrong().into_iter();
            wrong.extend(partitions.map(|(number, Wrong { what, since })| Wrong {
                what: format!("partition {number}: {what}"),
                since,
            }));
        }
        _ => {}
    }
    Seen { check: check.into(), ok: wrong.is_empty(), wrong: findings(context, wrong) }
}

/// A database that has not answered for so long that others take the worker for dead.
fn silent(context: &Context) -> Option<Wrong> {
    let since = context.leads.beat_at()?;
    let silence = since.elapsed();
    let what = || format!("no heartbeat was answered for {:.1} s", silence.as_secs_f64());
    (silence > Duration::from_secs_f64(DEAD_AFTER_SECONDS)).then(|| Wrong { what: what(), since })
}

fn findings(context: &Context, wrong: Vec<Wrong>) -> Vec<Finding> {
    let now = context.clock.now();
    let finding = |Wrong { what, since }: Wrong| {
        let lasting = since.elapsed();
        let since = now - TimeDelta::from_std(lasting).unwrap_or_default();
        Finding {
            what,
            since: since.to_rfc3339_opts(SecondsFormat::Millis, true),
            seconds: lasting.as_secs(),
        }
    };
    wrong.into_iter().map(finding).collect()
}
