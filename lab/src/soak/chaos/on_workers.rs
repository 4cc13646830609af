//! Faults of workers.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Chaos;
use super::swarm::{WRONG_CLOCKS, clock};
use crate::pick::Pick;
use crate::siege::Blow;
use crate::workers::Variation;

pub async fn kill(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    chaos.siege.lock().await.blow(Blow::Kill).await
}

pub async fn kill_all(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    chaos.siege.lock().await.blow(Blow::KillAll).await
}

pub async fn stop(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    chaos.siege.lock().await.blow(Blow::Stop).await
}

pub async fn kill_while_stopping(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    chaos.siege.lock().await.blow(Blow::KillWhileStopping).await
}

/// Replaces every worker, one after the other.
pub async fn rolling_restart(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let count = chaos.siege.lock().await.workers.count();
    for _ in 0..count {
        if chaos.stop.is_cancelled() {
            break;
        }
        // New workers are at the end of the list, so the first is always an old one.
        chaos.siege.lock().await.replace(0).await?;
    }
    Ok(format!("{count} workers"))
}

/// Suspends workers for less than any timeout.
pub async fn freeze(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let duration = pick.millis(500, 6_000);
    frozen(chaos, pick, duration).await
}

/// Suspends an owner of partitions until broker and database drop its connections and others take
/// over its messages. When it resumes, it must do no harm.
pub async fn frozen_owner(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let duration = pick.millis(12_000, 40_000);
    frozen(chaos, pick, duration).await
}

async fn frozen(chaos: &Chaos, pick: &mut Pick, duration: Duration) -> Result<String> {
    let name = {
        let mut siege = chaos.siege.lock().await;
        let victim = pick.index(siege.workers.count().max(1));
        if siege.workers.count() == 0 {
            anyhow::bail!("there is no worker");
        }
        siege.workers.freeze(victim)?
    };
    chaos.hold(duration).await;
    let told = taken_over(chaos).await;
    chaos.siege.lock().await.workers.thaw()?;
    Ok(format!("{name} for {:.1} s{}", duration.as_secs_f64(), told.unwrap_or_default()))
}

/// Describes how many partitions the live workers own.
async fn taken_over(chaos: &Chaos) -> Result<String> {
    let query = "select count(distinct partition), count(distinct id) from workers, unnest(partitions) as partition
                 where heartbeat_at > clock_timestamp() - interval '5 s'";
    let row = chaos.installation.database().await?.query_one(query, &[]).await?;
    let (partitions, workers): (i64, i64) = (row.get(0), row.get(1));
    Ok(format!("; {partitions} partitions are consumed by {workers} workers"))
}

/// Replaces a worker for a while by one whose clock is wrong.
pub async fn wrong_clock(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let how = pick.weighted(&WRONG_CLOCKS);
    let variables = clock(how).context("there is no libfaketime")?;
    let duration = pick.millis(8_000, 20_000);
    let varied = Variation { variables, ..Variation::default() };
    let name = replace_with(chaos, varied).await?;
    chaos.hold(duration).await;
    replace_with(chaos, Variation::default()).await?;
    Ok(format!("{name}: {how} for {:.1} s", duration.as_secs_f64()))
}

/// Kills the worker at the first place and restarts it with something different.
pub(super) async fn replace_with(chaos: &Chaos, variation: Variation) -> Result<String> {
    let mut siege = chaos.siege.lock().await;
    siege.workers.vary(0, variation);
    siege.workers.kill_in_place(0)?;
    while siege.workers.count() < siege.workers.places() {
        siege.workers.start()?;
    }
    siege.workers.name_in_place(0).context("there is no worker")
}

/// Starts and stops workers every second.
pub async fn churn(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let turns = pick.number(5, 12);
    for _ in 0..turns {
        if chaos.stop.is_cancelled() {
            break;
        }
        let blow = pick.weighted(&[(50, Blow::Kill), (50, Blow::Stop)]);
        chaos.siege.lock().await.blow(blow).await.ok();
        chaos.hold(pick.millis(200, 1_000)).await;
    }
    Ok(format!("{turns} times"))
}
