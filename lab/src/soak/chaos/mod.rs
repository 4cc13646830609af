//! Brings about faults around the workers, drawn from the seed.
//!
//! Reading order: [`faults`] lists them by name; each [`Lane`] draws one after the other, and
//! [`Chaos`] is what they act on. The network is a [`proxy`] for each link, the private engines are
//! processes in [`engines`]. At the end everything is healed.

mod engines;
mod failover;
pub mod faults;
mod links;
pub mod matrix;
mod on_broker;
mod on_database;
mod on_links;
mod on_messages;
mod on_moves;
mod on_places;
mod on_pooler;
mod on_rules;
mod on_surroundings;
mod on_workers;
pub mod on_zones;
mod others;
/// The tests use it, too.
#[path = "../../../../tests/suite/support/pgbouncer.rs"]
mod pgbouncer;
mod proxy;
mod silent;
pub mod swarm;
pub mod timeline;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::biller::Biller;
use crate::installation::Installation;
use crate::life::Ground;
use crate::operator;
use crate::pick::Pick;
use crate::siege::Siege;
use crate::terminal::{Setting, Terminal};
use crate::workers::Workers;
pub use engines::Engines;
use faults::{Fault, Lane};
pub use links::Links;
use timeline::Timeline;

/// How often to look for workers that ended by themselves.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// The streams of random choices, one for each lane.
const PURPOSE: u64 = u64::MAX / 16;

/// Bound on restoring what is missing on the broker and taking up moves. On a busy machine a single try may
/// be too slow.
const RESTORED_WITHIN: Duration = Duration::from_secs(120);

/// Exit code of a program that panicked.
const PANICKED: i32 = 101;

/// What faults act on.
pub struct Chaos {
    pub links: Arc<Links>,
    pub siege: Mutex<Siege>,
    /// `None` if the engines are not private and must not be broken.
    pub engines: Option<Engines>,
    /// The program whose commands operators run.
    pub program: PathBuf,
    pub installation: Arc<Installation>,
    pub terminals: Vec<Arc<Terminal>>,
    pub ground: Arc<Ground>,
    pub biller: Biller,
    pub setting: Setting,
    pub timeline: Arc<Timeline>,
    /// Directory for files with secrets.
    pub secrets: PathBuf,
    /// Cancelled when no more faults may begin and lasting ones must end.
    pub stop: CancellationToken,
}

impl Chaos {
    fn engines(&self) -> Result<&Engines> {
        self.engines.as_ref().context("the engines are not private ones")
    }

    /// Has an operator apply the topology until that succeeds: it restores what is missing on the broker and
    /// takes up moves whose command has ended.
    async fn apply(&self, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            // What is left later may come too late.
            let left = self.ground.moves.left();
            match self.try_apply().await {
                Ok(()) => {
                    self.ground.moves.taken_up(&left, self.ground.clock.now());
                    return Ok(());
                }
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => sleep(LOOK_INTERVAL).await,
            }
        }
    }

    async fn try_apply(&self) -> Result<()> {
        // A command that moves servers may hold up the operator, and itself wait for a queue.
        self.installation.restore().await?;
        let words = ["topology", "apply"];
        operator::run(&self.program, &self.installation, &words).await.map(drop)
    }

    /// Waits while a fault lasts, or until it is time to heal.
    async fn hold(&self, duration: Duration) {
        timeout(duration, self.stop.cancelled()).await.ok();
    }

    /// Brings about faults until told to stop, then heals everything.
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

    /// Brings about one fault after the other: first those requested by name, each until it has had
    /// an effect, then random ones.
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

    /// Restarts workers that have ended by themselves, as they do if an engine is away when they
    /// start.
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
            // A documented exit code means that something was missing; anything else is a crash.
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

    /// After healing: replaces workers that gave up at the last moment.
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

    /// Heals links, engines and workers.
    async fn heal(&self) -> Result<()> {
        self.links.heal();
        self.biller.sleep(false);
        self.siege.lock().await.workers.thaw()?;
        if let Some(engines) = &self.engines {
            engines.start_database(&self.installation).await?;
            on_database::writable(&self.installation.database().await?).await?;
            engines.broker_up(&self.installation).await?;
        }
        self.apply(RESTORED_WITHIN).await
    }
}
