//! What a run is like, drawn from the seed: another set of faults and other settings each time finds
//! more than all faults every time, where one can hide another.

use anyhow::{Result, bail};

use super::faults::{self, Fault};
use crate::pick::Pick;

/// Told apart from what else is drawn from the seed.
const PURPOSE: u64 = u64::MAX / 32;

/// Of a hundred faults so many take part.
const SHARE: u32 = 80;

pub struct Swarm {
    pub faults: Vec<&'static Fault>,
    pub workers: usize,
    /// Variables for all workers.
    pub settings: Vec<(&'static str, String)>,
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
            ("HOLDFAST_LADDER", pick.weighted(&[(85, "on"), (15, "off")]).to_owned()),
        ];
        Ok(Self { faults, workers: pick.index(3) + 2, settings })
    }
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
