//! Clocks. Only the database's decides; the others are told to people, and judge certificates.

use anyhow::Result;
use tokio_postgres::Client;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, named};
use crate::cli::when::When;
use crate::store::admin::conditions::load_unbelieved_seconds;
use crate::store::admin::status::{list_workers, load_versions};

const HOST: Check = Check::new("clock.host", "this machine's clock and the database's");
const WORKERS: Check = Check::new(
    "clock.workers",
    "each live worker's clock and the database's, at its last heartbeat",
);
const RETENTION: Check = Check::new(
    "clock.retention",
    "the database's clock and the one by which old rows are deleted, which does not jump",
);

/// Below this nobody notices, and the way to the database and back is part of what is measured.
const OFF_SECONDS: f64 = 2.0;

/// People are told wrong times, and certificates may not be valid yet.
const WRONG_SECONDS: f64 = 60.0;

/// The database's clock was set by hand, or jumped.
const JUMP_SECONDS: f64 = 300.0;

/// The closest of some readings counts.
const READINGS: usize = 3;

pub(super) async fn check(engines: &Engines<'_>) -> Vec<Finding> {
    let Some(database) = &engines.database else {
        return [HOST, WORKERS, RETENTION].map(|check| check.needs("the database")).to_vec();
    };
    vec![
        bounded(HOST, host(database)).await,
        bounded(WORKERS, workers(database)).await,
        bounded(RETENTION, retention(database)).await,
    ]
}

async fn host(database: &Client) -> Result<Finding> {
    let mut closest = f64::INFINITY;
    for _ in 0..READINGS {
        let before = When::now();
        let versions = load_versions(database).await?;
        let after = When::now();
        let ahead = |ours| seconds_between(ours, versions.now);
        // Somewhere in between the database has read its own.
        let ahead = (ahead(before) + ahead(after)) / 2.0;
        if ahead.abs() < closest.abs() {
            closest = ahead;
        }
    }
    let seen = off(closest);
    Ok(judge(HOST, closest.abs(), seen, "keep this machine's clock with NTP"))
}

fn seconds_between(
    ours: crate::domain::interval::Timestamp,
    database: crate::domain::interval::Timestamp,
) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let milliseconds = (ours - database).num_milliseconds() as f64;
    milliseconds / 1_000.0
}

fn off(seconds: f64) -> String {
    match seconds {
        0.0.. => format!("{seconds:.3} s ahead of the database"),
        _ => format!("{:.3} s behind the database", -seconds),
    }
}

fn judge(check: Check, off: f64, seen: String, remedy: &str) -> Finding {
    match off {
        ..OFF_SECONDS => check.green(seen),
        ..WRONG_SECONDS => check.yellow(seen, remedy),
        _ => check.red(seen, remedy),
    }
}

async fn workers(database: &Client) -> Result<Finding> {
    let live: Vec<_> =
        list_workers(database).await?.into_iter().filter(|worker| worker.live).collect();
    let worst = live.iter().map(|worker| worker.clock_ahead_seconds.abs()).fold(0.0, f64::max);
    let wrong: Vec<String> = live
        .iter()
        .filter(|worker| worker.clock_ahead_seconds.abs() >= OFF_SECONDS)
        .map(|worker| {
            format!("{} on {}: {}", worker.id, worker.host, off(worker.clock_ahead_seconds))
        })
        .collect();
    let seen = match wrong.is_empty() {
        true => format!("{} live workers, at most {worst:.3} s off", live.len()),
        false => named(&wrong),
    };
    let remedy = "keep the clocks of the machines that are named with NTP. They decide nothing, but log \
                  lines and certificates go by them";
    Ok(judge(WORKERS, worst, seen, remedy))
}

async fn retention(database: &Client) -> Result<Finding> {
    let ahead = load_unbelieved_seconds(database).await?;
    let remedy = "if the database's clock is right now, run `holdfast policy believe-clock`; otherwise set \
                  it right first. Until then nothing is deleted too early";
    Ok(match ahead.abs() {
        ..JUMP_SECONDS => RETENTION.green("together"),
        _ => {
            let seen = match ahead {
                0.0.. => format!("the database's clock is {ahead:.0} s ahead of what is believed"),
                _ => format!("the database's clock was set back by {:.0} s", -ahead),
            };
            RETENTION.yellow(seen, remedy)
        }
    })
}
