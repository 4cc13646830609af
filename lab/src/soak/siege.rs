//! Stops, kills and replaces workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::pick::Pick;
use crate::tally::Tally;
use crate::workers::Workers;

/// The stream of random choices for this purpose.
const PURPOSE: u64 = u64::MAX - 1;

#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// SIGKILL for some, but not for all.
    Kill,
    /// SIGKILL for all.
    KillAll,
    /// SIGTERM for one, as in a deploy.
    Stop,
    /// SIGTERM for one, and SIGKILL while it drains.
    KillWhileStopping,
}

pub struct Siege {
    pub workers: Workers,
    tally: Arc<Tally>,
    pick: Pick,
}

impl Siege {
    pub fn new(workers: Workers, tally: Arc<Tally>, seed: u64) -> Self {
        Self { workers, tally, pick: Pick::new(seed, PURPOSE) }
    }

    /// Strikes until told to stop, and then starts all missing workers.
    pub async fn run(mut self, stop: CancellationToken) -> Workers {
        while !stop.is_cancelled() {
            let peace = self.pick.millis(1_000, 5_000);
            if timeout(peace, stop.cancelled()).await.is_ok() {
                break;
            }
            if let Err(error) = self.strike().await {
                self.tally.failed(format!("{error:#}"));
            }
        }
        if let Err(error) = self.workers.check_alive() {
            self.tally.failed(format!("{error:#}"));
        }
        self.workers
    }

    async fn strike(&mut self) -> Result<()> {
        self.workers.check_alive()?;
        let blow = self.next_blow();
        self.blow(blow).await.map(drop)
    }

    /// A random one, after one of each that every run needs, however short it is.
    fn next_blow(&mut self) -> Blow {
        if self.tally.kills.get() == 0 {
            return Blow::Kill;
        }
        if self.tally.stops.get() == 0 {
            return Blow::Stop;
        }
        self.pick.weighted(&[
            (50, Blow::Kill),
            (12, Blow::KillAll),
            (25, Blow::Stop),
            (13, Blow::KillWhileStopping),
        ])
    }

    /// Strikes once and then starts all missing workers. Returns which were struck.
    pub async fn blow(&mut self, blow: Blow) -> Result<String> {
        let before = self.workers.count();
        let struck = self.hit(blow).await;
        let gone = before - self.workers.count();
        self.restore().await?;
        struck.map(|()| format!("{gone} of {before} workers"))
    }

    /// Stops the worker at a place gracefully and starts another version there. Returns how long
    /// the old one took to stop.
    pub async fn exchange(&mut self, place: usize, program: PathBuf) -> Result<Duration> {
        let index = self.workers.at(place).context("nobody is at this place")?;
        let took = self.workers.stop(index).await?;
        self.tally.stops.add();
        self.workers.assign(place, program);
        self.workers.start()?;
        Ok(took)
    }

    /// Stops one worker gracefully and starts another.
    pub async fn replace(&mut self, index: usize) -> Result<()> {
        if index < self.workers.count() {
            self.workers.stop(index).await?;
            self.tally.stops.add();
        }
        self.restore().await
    }

    async fn hit(&mut self, blow: Blow) -> Result<()> {
        anyhow::ensure!(self.workers.count() > 0, "there is no worker");
        match blow {
            Blow::Kill => {
                let most = i64::try_from(self.workers.count())?.saturating_sub(1).max(1);
                for _ in 0..self.pick.number(1, most) {
                    self.kill_one()?;
                }
            }
            Blow::KillAll => self.kill_all()?,
            Blow::Stop => {
                let victim = self.pick.index(self.workers.count());
                self.workers.stop(victim).await?;
                self.tally.stops.add();
            }
            Blow::KillWhileStopping => {
                let victim = self.pick.index(self.workers.count());
                self.workers.tell_to_stop(victim)?;
                sleep(self.pick.millis(0, 60)).await;
                self.workers.kill(victim)?;
                self.tally.kills.add();
            }
        }
        Ok(())
    }

    /// Kills all workers. None runs until [`Siege::restore`].
    pub fn kill_all(&mut self) -> Result<()> {
        while self.workers.count() > 0 {
            self.kill_one()?;
        }
        Ok(())
    }

    fn kill_one(&mut self) -> Result<()> {
        let victim = self.pick.index(self.workers.count());
        self.workers.kill(victim)?;
        self.tally.kills.add();
        Ok(())
    }

    /// A short pause before the next worker starts, or none: both must work.
    pub async fn restore(&mut self) -> Result<()> {
        if self.workers.count() == 0 {
            self.tally.blackouts.add();
        }
        while self.workers.count() < self.workers.places() {
            sleep(self.pick.weighted(&[
                (40, Duration::ZERO),
                (40, Duration::from_millis(500)),
                (20, Duration::from_millis(2_500)),
            ]))
            .await;
            self.workers.start()?;
        }
        Ok(())
    }
}
