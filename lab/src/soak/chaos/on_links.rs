//! Faults of the network.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::Chaos;
use super::proxy::{Harm, Link, Weather};
use crate::pick::Pick;

pub async fn reset(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let before = harm(&links);
    links.iter().for_each(|link| link.reset());
    Ok(format!("{}: {}", named(&links), harmed(&links, before)?))
}

/// Drops all traffic silently. Afterwards it arrives late or never.
pub async fn blackhole(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let weather = Weather { hold_up: true, hold_down: true, ..Weather::default() };
    storm(chaos, pick, links, weather, (3_000, 25_000)).await
}

/// Drops traffic in one direction only.
pub async fn half_open(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let up = pick.chance(50);
    let weather = Weather { hold_up: up, hold_down: !up, ..Weather::default() };
    storm(chaos, pick, links, weather, (3_000, 25_000)).await
}

pub async fn latency(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let latency = Some((pick.millis(5, 150), pick.millis(0, 150)));
    storm(chaos, pick, links, Weather { latency, ..Weather::default() }, (4_000, 15_000)).await
}

pub async fn slicing(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    storm(chaos, pick, links, Weather { sliced: true, ..Weather::default() }, (4_000, 12_000)).await
}

pub async fn rate(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let rate = u64::try_from(pick.number(4_000, 100_000)).ok();
    storm(chaos, pick, links, Weather { rate, ..Weather::default() }, (4_000, 15_000)).await
}

/// Breaks connections in the middle of a frame.
pub async fn cut(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let cut_after = u64::try_from(pick.number(1, 8_000)).ok();
    storm(chaos, pick, links, Weather { cut_after, ..Weather::default() }, (1_000, 6_000)).await
}

/// Breaks a worker's database connections in the middle of what it sends, commits included.
pub async fn cut_commit(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = vec![one(&chaos.links.to_database, pick)];
    let cut_after = u64::try_from(pick.number(200, 6_000)).ok();
    storm(chaos, pick, links, Weather { cut_after, ..Weather::default() }, (1_000, 4_000)).await
}

pub async fn refuse(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = chaos.links.some(pick);
    let weather = Weather { closed: true, ..Weather::default() };
    links.iter().for_each(|link| link.set(weather.clone()));
    links.iter().for_each(|link| link.reset());
    // Former clients reconnect at once and are refused.
    storm(chaos, pick, links, weather, (2_000, 15_000)).await
}

/// Loses what a worker sends to the broker after its commit.
pub async fn lost_acks(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    lost(chaos, pick, Weather { hold_up: true, ..Weather::default() }).await
}

/// Loses publisher confirms on their way to a worker.
pub async fn lost_confirms(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    lost(chaos, pick, Weather { hold_down: true, ..Weather::default() }).await
}

async fn lost(chaos: &Chaos, pick: &mut Pick, weather: Weather) -> Result<String> {
    let links = vec![one(&chaos.links.to_broker, pick)];
    let before = harm(&links);
    links[0].set(weather);
    chaos.hold(pick.millis(200, 4_000)).await;
    // Held data is dropped with the connections.
    links[0].reset();
    links[0].set(Weather::default());
    anyhow::ensure!(harm(&links).pieces > before.pieces, "{}: nothing was said", links[0].name);
    Ok(format!("{}: {}", links[0].name, harmed(&links, before)?))
}

/// Cuts an owner of partitions off from the database but not the broker, or the other way round.
pub async fn half_dead_owner(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let links = match pick.chance(50) {
        true => &chaos.links.to_database,
        false => &chaos.links.to_broker,
    };
    let links = vec![one(links, pick)];
    let weather = Weather { hold_up: true, hold_down: true, ..Weather::default() };
    storm(chaos, pick, links, weather, (12_000, 40_000)).await
}

fn one(links: &[Arc<Link>], pick: &mut Pick) -> Arc<Link> {
    links[pick.index(links.len())].clone()
}

async fn storm(
    chaos: &Chaos,
    pick: &mut Pick,
    links: Vec<Arc<Link>>,
    weather: Weather,
    (from, through): (u64, u64),
) -> Result<String> {
    let before = harm(&links);
    links.iter().for_each(|link| link.set(weather.clone()));
    let duration = pick.millis(from, through);
    chaos.hold(duration).await;
    let harmed = harmed(&links, before);
    let broken = pick.chance(40);
    if broken {
        links.iter().for_each(|link| link.reset());
    }
    links.iter().for_each(|link| link.set(Weather::default()));
    let then = if broken { ", then reset" } else { "" };
    Ok(format!("{}: {weather} for {}{then}; {}", named(&links), seconds(duration), harmed?))
}

fn harm(links: &[Arc<Link>]) -> Harm {
    links.iter().map(|link| link.harm()).fold(Harm::default(), |sum, harm| Harm {
        broken: sum.broken + harm.broken,
        refused: sum.refused + harm.refused,
        pieces: sum.pieces + harm.pieces,
    })
}

/// Describes the links' effects since then. An error if no connection was affected.
fn harmed(links: &[Arc<Link>], before: Harm) -> Result<String> {
    let now = harm(links);
    let counts = [
        (now.broken - before.broken, "connections broken"),
        (now.refused - before.refused, "refused"),
        (now.pieces - before.pieces, "pieces of data hit"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    anyhow::ensure!(!counts.is_empty(), "{}: nobody was on the way", named(links));
    Ok(counts.join(", "))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn named(links: &[Arc<Link>]) -> String {
    match links {
        [link] => link.name.clone(),
        _ => format!("{} and {} more", links[0].name, links.len() - 1),
    }
}

impl std::fmt::Display for Weather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hold_up, hold_down, closed, latency, sliced, rate, cut_after } = self;
        match (hold_up, hold_down) {
            (true, true) => f.write_str("nothing passes")?,
            (true, false) => f.write_str("nothing passes up")?,
            (false, true) => f.write_str("nothing passes down")?,
            (false, false) => {}
        }
        if *closed {
            f.write_str("refused")?;
        }
        if *sliced {
            f.write_str("byte by byte")?;
        }
        if let Some((latency, jitter)) = latency {
            write!(f, "{} ms and up to {} more", latency.as_millis(), jitter.as_millis())?;
        }
        if let Some(rate) = rate {
            write!(f, "{rate} bytes/s")?;
        }
        if let Some(bytes) = cut_after {
            write!(f, "cut after {bytes} bytes")?;
        }
        Ok(())
    }
}
