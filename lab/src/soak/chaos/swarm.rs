//! What a run is like, drawn from the seed: another set of faults and other settings each time finds
//! more than all faults every time, where one can hide another.

use anyhow::{Result, bail};

use super::faults::{self, Fault};
use crate::pick::Pick;
use crate::workers::Environment;

/// Told apart from what else is drawn from the seed.
const PURPOSE: u64 = u64::MAX / 32;

/// Of a hundred faults so many take part.
const SHARE: u32 = 80;

pub struct Swarm {
    pub faults: Vec<&'static Fault>,
    pub workers: usize,
    /// Variables for all workers.
    pub settings: Environment,
    /// A worker whose clock goes wrong, by its place, and how.
    pub wrong_clock: Option<(usize, Environment)>,
}

impl Swarm {
    /// `only`: these faults and no others, by name.
    pub fn draw(seed: u64, only: &[String], private: bool) -> Result<Self> {
        let mut pick = Pick::new(seed, PURPOSE);
        let usable = |fault: &&Fault| private || !fault.lane.needs_engines();
        let faults = match only {
            [] => faults::ALL
                .iter()
                .filter(usable)
                .filter(|fault| fault.weight > 0 && pick.chance(SHARE))
                .collect(),
            names => named(names)?,
        };
        let settings = vec![
            ("HOLDFAST_BATCH_MAX", pick.weighted(&[(60, 256), (20, 32), (20, 4)]).to_string()),
            ("HOLDFAST_SWEEP_INTERVAL_SECONDS", pick.number(2, 8).to_string()),
            ("HOLDFAST_LADDER", ladder(pick.weighted(&[(85, "on"), (15, "off")]), only)),
        ];
        let workers = pick.index(3) + 2;
        Ok(Self { faults, workers, settings, wrong_clock: wrong_clock(&mut pick) })
    }

    /// What the worker in a place is started with beside the ways to the engines.
    pub fn environment(&self, place: usize) -> Environment {
        let mut environment = self.settings.clone();
        if let Some((wrong, variables)) = &self.wrong_clock
            && *wrong == place
        {
            environment.extend(variables.iter().cloned());
        }
        environment
    }
}

/// An hour ahead or behind, or ten times as fast.
pub const WRONG_CLOCKS: [(u32, &str); 3] = [(40, "+3600s"), (40, "-3600s"), (20, "+0 x10")];

/// In every other run, if there is a library for it.
fn wrong_clock(pick: &mut Pick) -> Option<(usize, Environment)> {
    let how = pick.weighted(&WRONG_CLOCKS);
    let wrong = pick.chance(50);
    Some((0, clock(how).filter(|_| wrong)?))
}

/// With a clock that is off; `None` if there is no library for it.
pub fn clock(how: &str) -> Option<Environment> {
    let library = std::env::var("HOLDFAST_FAKETIME").ok()?;
    Some(vec![
        ("LD_PRELOAD", library),
        ("FAKETIME", how.to_owned()),
        // Or nothing would wait as long as it should, which is no matter of clocks.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

/// Without it there is nothing to purge.
fn ladder(drawn: &str, only: &[String]) -> String {
    let needed = only.iter().any(|name| name == "ladder-purged");
    if needed { "on" } else { drawn }.to_owned()
}

fn named(names: &[String]) -> Result<Vec<&'static Fault>> {
    let mut found = Vec::new();
    for name in names {
        match faults::named(name) {
            Some(fault) => found.push(fault),
            None => bail!("there is no fault {name}; `--list` tells which there are"),
        }
    }
    Ok(found)
}
