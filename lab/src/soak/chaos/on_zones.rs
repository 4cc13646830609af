//! A fault of the zone rules that the database takes from its system.
//!
//! Requests ask for the next two hours. So quota periods must change within these, and each must depend on the
//! zone: [`prepare`] has use counted by the day, in a zone whose midnight is near.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast::domain::interval::Timestamp;
use tokio_postgres::Client;

use super::on_database::sessions;
use super::{Chaos, Engines};
use crate::installation::Installation;
use crate::operator::{self, Ended, PATIENCE};
use crate::pick::Pick;

/// Bound on a command that looks at the database.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// Exit code of a check that finds something.
const FOUND: i32 = 3;

/// The zone whose next day begins soonest after an hour from now: zones are an hour apart, or less.
const COUNTED_IN: &str = "
    select name from pg_timezone_names
    where zone_is_named(name)
    order by (date_trunc('day', (now() + interval '1 hour') at time zone name) + interval '1 day') at time zone name,
             name
    limit 1";

/// When today begins in a zone, by the rules of the session.
const BEGINS: &str = "select date_trunc('day', now() at time zone 'UTC') at time zone $1::text";

/// A zone whose days begin an hour from those of `$1`, on the side of `$2` if there is one.
const NEIGHBOUR: &str = "
    with today as (select date_trunc('day', now() at time zone 'UTC') as midnight)
    select name from pg_timezone_names cross join today
    cross join lateral (select midnight at time zone name - midnight at time zone $1::text as apart) zones
    where zone_is_named(name) and apart in (interval '1 hour', interval '-1 hour')
    order by apart <> make_interval(hours => $2), name
    limit 1";

/// Has use counted by the days of a zone whose rules can be changed. Nothing if none can: then the fault is in
/// vain.
pub async fn prepare(installation: &Installation) -> Result<()> {
    if !Engines::find().is_some_and(|engines| engines.has_zones()) {
        return Ok(());
    }
    let database = installation.database().await?;
    let zone: String = database.query_one(COUNTED_IN, &[]).await?.get(0);
    let policy = "update policy set quota_period = 'day', quota_zone = $1";
    database.execute(policy, &[&zone]).await.context("counting by the day")?;
    Ok(())
}

/// Gives the zone of quota periods another one's rules, as an upgrade of its system does while the database
/// runs: half of the workers' sessions keep those they have read, and the other half reads the new ones. All
/// must count by the stored bounds, and the change must be noticed. Then the rules are as before, also for new
/// sessions only, and all use is counted anew.
pub async fn zone_rules(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    ensure!(
        engines.has_zones(),
        "there are no zone rules of our own, which take root and a machine that lets it mount"
    );
    let old = chaos.installation.database().await?;
    let policy = "select quota_zone from policy";
    let zone: String = old.query_one(policy, &[]).await?.get(0);
    let side = pick.weighted(&[(1, -1), (1, 1)]);
    let other: String = old.query_one(NEIGHBOUR, &[&zone, &side]).await?.get(0);
    let before = begins(&old, &zone).await?;
    engines.give_zone_rules_of(&zone, &other)?;
    let sessions = meanwhile(chaos, pick, &old, (&zone, before)).await;
    engines.give_zone_rules_of(&zone, &zone)?;
    let (renewed, kept) = sessions?;
    recount(chaos).await?;
    Ok(format!("{zone} has the rules of {other}: {renewed} sessions go by them, {kept} do not"))
}

/// Numbers of the workers' sessions that go by the new rules and by the old.
async fn meanwhile(
    chaos: &Chaos,
    pick: &mut Pick,
    old: &Client,
    zone: (&str, Timestamp),
) -> Result<(usize, usize)> {
    let halves = halve(chaos, pick, old, zone).await?;
    notice(chaos, zone.0).await?;
    chaos.hold(pick.millis(5_000, 15_000)).await;
    Ok(halves)
}

async fn begins(session: &Client, zone: &str) -> Result<Timestamp> {
    Ok(session.query_one(BEGINS, &[&zone]).await?.get(0))
}

/// Ends half of the workers' sessions, and returns how many have ended and how many are left. An error if new
/// sessions have the same rules as old ones.
async fn halve(
    chaos: &Chaos,
    pick: &mut Pick,
    old: &Client,
    (zone, before): (&str, Timestamp),
) -> Result<(usize, usize)> {
    let new = chaos.installation.database().await?;
    ensure!(begins(&new, zone).await? != before, "new sessions have the rules as they were");
    ensure!(begins(old, zone).await? == before, "an old session has the new rules");
    let mut all = sessions(&new).await?;
    pick.shuffle(&mut all);
    let victims = &all[..all.len().div_ceil(2)];
    let query = "select pg_terminate_backend(pid) from unnest($1::int[]) as pid";
    new.execute(query, &[&victims]).await?;
    ensure!(!victims.is_empty(), "nobody is connected");
    Ok((victims.len(), all.len() - victims.len()))
}

/// The check must name the zone.
async fn notice(chaos: &Chaos, zone: &str) -> Result<()> {
    let ended = command(chaos, &["user", "recount", "--check"], TOLD_WITHIN).await?;
    let Some(Ended { status, complaints, .. }) = ended else { return Ok(()) };
    if status.code() != Some(FOUND) || !complaints.contains(zone) {
        let told =
            format!("`user recount --check` with other rules of {zone}: {status}: {complaints}");
        chaos.setting.tally.failed(told);
    }
    Ok(())
}

/// Under load, by the rules that the stored bounds are of: the judgement of the whole run knows no others.
async fn recount(chaos: &Chaos) -> Result<()> {
    for words in [&["user", "recount"][..], &["user", "recount", "--check"]] {
        let ended = command(chaos, words, PATIENCE).await?;
        let Some(Ended { status, complaints, .. }) = ended else { return Ok(()) };
        if !status.success() {
            let told =
                format!("`{}` with the rules as before: {status}: {complaints}", words.join(" "));
            chaos.setting.tally.failed(told);
        }
    }
    Ok(())
}

/// `None` if it hangs, which is noted.
async fn command(chaos: &Chaos, words: &[&str], within: Duration) -> Result<Option<Ended>> {
    let environment = chaos.installation.environment()?;
    let ended = operator::end_of(&chaos.program, environment, words, within).await?;
    if ended.is_none() {
        chaos.setting.tally.failed(format!("`{}` hangs", words.join(" ")));
    }
    Ok(ended)
}
