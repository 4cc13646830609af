//! A deploy under load, in the order that the README gives operators: schema, topology, then one
//! worker after the other, some of them back again. Meanwhile both versions decide side by side and
//! are killed at random.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::installation::{Installation, SHAPE};
use crate::operator;
use crate::siege::{Blow, Siege};
use crate::tally::Tally;

/// A worker's default drain grace.
pub const DRAIN_GRACE: Duration = Duration::from_secs(20);

/// Answers that must arrive between two steps of the deploy, so that it happens under load.
const ANSWERS: usize = 150;

/// How often the workers in half of the places go back and forth.
const ROUNDS: usize = 4;

/// How long a reader blocks the migration: for more than one of its tries.
const IN_THE_WAY: Duration = Duration::from_secs(5);

/// Bound on every wait here.
const PATIENCE: Duration = Duration::from_secs(120);

const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Blocks the migration as a report or a dump would.
const READ_ALL: &str = "do $$ begin
    execute (select 'lock table ' || string_agg(format('%I', tablename), ', ') || ' in access share mode'
             from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations');
end $$";

/// Figures of a deploy.
pub struct Rolled {
    /// Migrations that were applied.
    pub steps: Vec<String>,
    /// How long each worker took to stop.
    pub drains: Vec<Duration>,
}

pub struct Deploy {
    siege: Siege,
    installation: Arc<Installation>,
    tally: Arc<Tally>,
    old: PathBuf,
    new: PathBuf,
    rolled: Rolled,
}

/// Makes schema and topology with a program's own commands.
pub async fn install(program: &Path, installation: &Installation) -> Result<()> {
    operator::run(program, installation, &["migrate"]).await?;
    let [partitions, levels] = [SHAPE.partitions.to_string(), SHAPE.delay_levels.to_string()];
    let shape = ["--partitions", &partitions, "--delay-levels", &levels];
    let apply = [&["topology", "apply"], &shape[..]].concat();
    operator::run(program, installation, &apply).await.map(drop)
}

impl Deploy {
    pub fn new(
        siege: Siege,
        installation: Arc<Installation>,
        tally: Arc<Tally>,
        old: PathBuf,
        new: PathBuf,
    ) -> Self {
        let rolled = Rolled { steps: Vec::new(), drains: Vec::new() };
        Self { siege, installation, tally, old, new, rolled }
    }

    pub async fn run(mut self) -> Result<(Siege, Rolled)> {
        let (old, new, places) = (self.old.clone(), self.new.clone(), self.siege.workers.places());
        let most = usize::try_from(SHAPE.partitions)?;
        ensure!(places <= most, "more than {most} workers: some would have nothing to do");
        self.under_load().await?;
        self.told("the schema", Self::migrate).await?;
        self.told("the topology", Self::apply).await?;
        self.under_load().await?;
        let half = places.div_ceil(2);
        self.roll(0..half, &new).await?;
        for blow in [Blow::Kill, Blow::Stop, Blow::KillAll, Blow::KillWhileStopping] {
            self.siege.blow(blow).await?;
            self.under_load().await?;
        }
        println!("both versions were stopped and killed side by side");
        self.roll(half..places, &new).await?;
        for _ in 0..ROUNDS {
            self.roll(0..half, &old).await?;
            self.roll(0..half, &new).await?;
        }
        self.print_drains();
        Ok((self.siege, self.rolled))
    }

    /// Waits until every worker owns partitions and some commands are answered.
    async fn under_load(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.siege.workers.check_alive()?;
            let busy = self.busy().await?;
            if self.siege.workers.running().all(|(pid, _)| busy.contains(&pid)) {
                break;
            }
            ensure!(Instant::now() < until, "a worker gets no partition");
            sleep(LOOK_INTERVAL).await;
        }
        let enough = self.tally.answers.get() + ANSWERS;
        while self.tally.answers.get() < enough {
            self.siege.workers.check_alive()?;
            ensure!(Instant::now() < until, "answers do not come any more");
            sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Process ids of the workers that own partitions.
    async fn busy(&self) -> Result<HashSet<u32>> {
        let query = "select pid from workers where partitions <> '{}'
            and heartbeat_at > clock_timestamp() - interval '5 s'";
        let rows = self.installation.database().await?.query(query, &[]).await?;
        Ok(rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs()).collect())
    }

    /// Runs one step. Returns how long it took and the longest time without an answer meanwhile.
    async fn told(
        &mut self,
        what: &str,
        work: impl AsyncFnOnce(&mut Self) -> Result<String>,
    ) -> Result<()> {
        let (tally, began) = (self.tally.clone(), Instant::now());
        let mut longest = Duration::ZERO;
        let silence = async {
            let (mut answers, mut since) = (tally.answers.get(), Instant::now());
            loop {
                sleep(LOOK_INTERVAL).await;
                longest = longest.max(since.elapsed());
                if tally.answers.get() != answers {
                    (answers, since) = (tally.answers.get(), Instant::now());
                }
            }
        };
        let done = tokio::select! {
            done = work(self) => done?,
            () = silence => unreachable!("endless"),
        };
        println!(
            "{what}: {done}, in {:.1} s; nobody was answered for {:.1} s at most",
            began.elapsed().as_secs_f64(),
            longest.as_secs_f64()
        );
        Ok(())
    }

    /// Migrates the schema under the old version's workers, while a reader blocks it for a while.
    async fn migrate(&mut self) -> Result<String> {
        let reader = self.installation.database().await?;
        reader.batch_execute(&format!("begin; {READ_ALL}")).await?;
        let words = ["migrate", "--json"];
        let migrating = operator::run(&self.new, &self.installation, &words);
        let reading = async {
            sleep(IN_THE_WAY).await;
            reader.batch_execute("commit").await
        };
        let (printed, read) = tokio::join!(migrating, reading);
        read?;
        let printed: serde_json::Value = serde_json::from_str(&printed?)?;
        let steps = printed["applied"].as_array().context("the steps")?;
        self.rolled.steps =
            steps.iter().filter_map(|step| step.as_str()).map(str::to_owned).collect();
        Ok(self.rolled.steps.join(", "))
    }

    async fn apply(&mut self) -> Result<String> {
        let apply = ["topology", "apply"];
        let printed = operator::run(&self.new, &self.installation, &apply).await?;
        Ok(printed.trim().replace('\n', "; "))
    }

    /// Replaces one worker after the other, each under load.
    async fn roll(&mut self, places: std::ops::Range<usize>, to: &Path) -> Result<()> {
        for place in places {
            let took = self.siege.exchange(place, to.to_owned()).await?;
            self.rolled.drains.push(took);
            self.under_load().await?;
        }
        let count = |program: &Path| {
            self.siege.workers.running().filter(|(_, runs)| *runs == program).count()
        };
        println!("workers: {} old, {} new", count(&self.old), count(&self.new));
        Ok(())
    }

    fn print_drains(&self) {
        let mut took: Vec<u128> = self.rolled.drains.iter().map(Duration::as_millis).collect();
        took.sort_unstable();
        println!(
            "{} workers stopped in order: median {} ms, longest {} ms",
            took.len(),
            took[took.len() / 2],
            took[took.len() - 1]
        );
    }
}
