//! Everything that can go wrong around the workers, drawn from the seed.
//!
//! Reading order: [`faults`] lists what there is, by name; each [`Lane`] draws one after the other
//! and [`Chaos`] is what they act on. The network is a [`proxy`] per link, the private engines are
//! processes in [`engines`]. In the end all of it is healed.

mod engines;
mod failover;
pub mod faults;
mod links;
pub mod matrix;
mod on_broker;
mod on_database;
mod on_links;
mod on_messages;
mod on_places;
mod on_workers;
mod proxy;
pub mod swarm;
pub mod timeline;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::biller::Biller;
use crate::installation::Installation;
use crate::life::Ground;
use crate::pick::Pick;
use crate::siege::Siege;
use crate::terminal::{Setting, Terminal};
use crate::workers::Workers;
pub use engines::Engines;
use faults::{Fault, Lane};
pub use links::Links;
use timeline::Timeline;

/// How often workers that ended by themselves are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Told apart from what else is drawn from the seed; one each for the lanes.
const PURPOSE: u64 = u64::MAX / 16;

/// For what is missing on the broker to be put back: a single try may be too slow where much else
/// goes on.
const RESTORED_WITHIN: Duration = Duration::from_secs(120);

/// A program that panics ends with this.
const PANICKED: i32 = 101;

/// What faults act on.
pub struct Chaos {
    pub links: Arc<Links>,
    pub siege: Mutex<Siege>,
    /// `None`: the engines are not ours to break.
    pub engines: Option<Engines>,
    pub installation: Arc<Installation>,
    pub terminals: Vec<Arc<Terminal>>,
    pub ground: Arc<Ground>,
    pub biller: Biller,
    pub setting: Setting,
    pub timeline: Arc<Timeline>,
    /// No more faults, and an early end to those that last.
    pub stop: CancellationToken,
}

impl Chaos {
    fn engines(&self) -> Result<&Engines> {
        self.engines.as_ref().context("the engines are not private ones")
    }

    /// Lets a fault last, unless it is time to heal.
    async fn hold(&self, duration: Duration) {
        timeout(duration, self.stop.cancelled()).await.ok();
    }

    /// Brings faults about until told to stop, then heals everything.
    pub async fn run(&self, faults: &[&'static Fault], seed: u64) -> Result<()> {
        let of = |lane| -> Vec<&'static Fault> {
            faults.iter().filter(|fault| fault.lane == lane).copied().collect()
        };
        let lanes = Lane::ALL
            .iter()
            .enumerate()
            .map(|(number, lane)| self.follow(of(*lane), Pick::new(seed, PURPOSE + number as u64)));
        let quiet = CancellationToken::new();
        let supervise = self.supervise(&quiet);
        let all = async {
            futures::future::join_all(lanes).await;
            let healed = self.heal().await;
            quiet.cancel();
            healed
        };
        let (healed, ()) = tokio::join!(all, supervise);
        healed
    }

    /// One fault after the other: first those that were asked for by name, each until it has hit
    /// something, then whatever is drawn.
    async fn follow(&self, faults: Vec<&'static Fault>, mut pick: Pick) {
        if faults.is_empty() {
            return;
        }
        let mut wanted = faults.clone();
        wanted.retain(|fault| self.timeline.is_wanted(fault));
        pick.shuffle(&mut wanted);
        loop {
            self.hold(pick.millis(500, 4_000)).await;
            if self.stop.is_cancelled() {
                return;
            }
            let options: Vec<_> =
                faults.iter().map(|fault| (fault.weight.max(1), *fault)).collect();
            let fault = wanted.pop().unwrap_or_else(|| pick.weighted(&options));
            let began = self.timeline.begin(fault.name);
            let told = (fault.inject)(self, &mut pick).await;
            if told.is_err() && !wanted.is_empty() {
                wanted.insert(0, fault);
            }
            self.timeline.end(began, fault, told, &self.setting.history);
        }
    }

    /// Starts workers again that have ended by themselves, as they do when an engine is away while
    /// they start.
    async fn supervise(&self, quiet: &CancellationToken) {
        while !quiet.is_cancelled() {
            sleep(LOOK_INTERVAL).await;
            let Ok(mut siege) = self.siege.try_lock() else { continue };
            if let Err(error) = self.replace_ended(&mut siege) {
                self.setting.tally.failed(format!("{error:#}"));
            }
        }
    }

    fn replace_ended(&self, siege: &mut Siege) -> Result<()> {
        for (name, status) in siege.workers.take_ended()? {
            // With an exit code of its own it has said what it lacks; anything else is a crash.
            if status.code().is_none_or(|code| code == PANICKED || code == 0) {
                self.setting.tally.failed(format!("{name} has ended by itself: {status}"));
            }
            self.setting.tally.gave_up.add();
        }
        while siege.workers.count() < siege.workers.places() {
            siege.workers.start()?;
        }
        Ok(())
    }

    /// When everybody has calmed down: one that gave up at the last moment is replaced as well.
    pub fn into_workers(self) -> Result<Workers> {
        let mut siege = self.siege.into_inner();
        for (_, status) in siege.workers.take_ended()? {
            anyhow::ensure!(status.code() != Some(PANICKED), "a worker has panicked");
            self.setting.tally.gave_up.add();
        }
        while siege.workers.count() < siege.workers.places() {
            siege.workers.start()?;
        }
        Ok(siege.workers)
    }

    /// Fair weather, engines without alarms, all workers awake.
    async fn heal(&self) -> Result<()> {
        self.links.heal();
        self.biller.sleep(false);
        self.siege.lock().await.workers.thaw()?;
        if let Some(engines) = &self.engines {
            engines.start_database(&self.installation).await?;
            on_database::writable(&self.installation.database().await?).await?;
            engines.broker_up(&self.installation).await?;
        }
        let ids: Vec<String> = self.terminals.iter().map(|terminal| terminal.id.clone()).collect();
        let until = Instant::now() + RESTORED_WITHIN;
        loop {
            match self.installation.restore(&ids).await {
                Err(error) if Instant::now() < until => println!("not healed yet: {error:#}"),
                restored => return restored,
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}
