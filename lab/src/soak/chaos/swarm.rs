//! Draws a run's faults and settings from the seed. A different subset each time finds more than
//! all faults every time, because one can hide another.

use anyhow::{Result, bail};

use super::faults::{self, Fault};
use crate::pick::Pick;
use crate::workers::Environment;

/// The stream of random choices for this purpose.
const PURPOSE: u64 = u64::MAX / 32;

/// Percentage of faults that take part.
const SHARE: u32 = 80;

pub struct Swarm {
    pub faults: Vec<&'static Fault>,
    pub workers: usize,
    /// Variables for all workers.
    pub settings: Environment,
    /// The place of a worker with a wrong clock, and its offset.
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

    /// Environment variables of the worker at a place, besides its links to the engines.
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

/// Drawn in every other run, if libfaketime is installed.
fn wrong_clock(pick: &mut Pick) -> Option<(usize, Environment)> {
    let how = pick.weighted(&WRONG_CLOCKS);
    let wrong = pick.chance(50);
    Some((0, clock(how).filter(|_| wrong)?))
}

/// Variables for a wrong clock. `None` if libfaketime is not installed.
pub fn clock(how: &str) -> Option<Environment> {
    let library = std::env::var("HOLDFAST_FAKETIME").ok()?;
    Some(vec![
        ("LD_PRELOAD", library),
        ("FAKETIME", how.to_owned()),
        // Keep monotonic clocks right: otherwise timeouts would have wrong lengths.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

/// The fault needs the ladder: otherwise there is nothing to purge.
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
