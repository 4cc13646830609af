//! The installation, set up with the command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::domain::id::ServerId;
use holdfast_lab::program;
use uuid::Uuid;

use crate::biller::Biller;
use crate::database::{Database, LiveWorker};
use crate::operator::Operator;
use crate::terminal::Terminal;
use crate::timeline::{Timeline, print};
use crate::wait::{self, PATIENCE};
use crate::words;
use crate::workers::Workers;

/// Lead time of all servers.
pub const LEAD_SECONDS: i64 = 4;

/// Price of half a minute.
pub const HALF_MINUTE_MINOR: i64 = 150;

/// Capacity of the server `hall`.
pub const HALL_CAPACITY: usize = 150;

/// The small quota that gets used up.
pub const TIM_QUOTA_SECONDS: i64 = 60;

/// Longer than the five seconds for which a killed worker's heartbeat stays valid.
const OTHERS_PATIENCE: Duration = Duration::from_secs(8);

pub struct Stage {
    pub timeline: Arc<Timeline>,
    /// Suffix of all ids of this run, so that an installation can hold any number of runs.
    pub suffix: String,
    pub operator: Operator,
    pub database: Database,
    /// A connection with the workers' account, to inspect the broker.
    pub broker: Connection,
    pub biller: Biller,
    pub workers: Workers,
    pub ann: Terminal,
    pub bob: Terminal,
    pub tim: Terminal,
    /// Capacity one.
    pub cam: ServerId,
    /// Capacity one.
    pub solo: ServerId,
    /// Capacity two.
    pub duo: ServerId,
    /// Capacity for many reservations.
    pub hall: ServerId,
    pub endings: Vec<Ending>,
    /// The terminal whose message nobody could decide.
    pub parked: Option<Terminal>,
    /// The broker's own program, if the broker is `./dev`'s.
    pub rabbitmqctl: Option<String>,
}

/// A reservation that shows one way to end.
pub struct Ending {
    pub reservation: Uuid,
    pub how: &'static str,
    /// The name of the terminal, in the shell.
    pub terminal: &'static str,
}

impl Stage {
    pub async fn set_up() -> Result<Self> {
        let database_url = variable("DATABASE_URL")?;
        let endpoint: Endpoint =
            variable("AMQP_URL")?.parse().map_err(|error| anyhow!("AMQP_URL: {error}"))?;
        let suffix = Uuid::new_v4().simple().to_string()[..6].to_owned();
        let timeline = Arc::new(Timeline::new(&suffix));
        let operator =
            Operator { binary: program::beside_ourselves()?, timeline: timeline.clone() };
        let dir = state_dir()?;
        print(&format!(
            "All ids of this run end in -{suffix}, which is left out below; times are UTC.\n\
             The workers' logs are {}/worker-*.log",
            dir.display()
        ));
        timeline.scene("Setting up");
        operator.run("migrate").await?;
        operator.run("topology apply").await?;
        let database = Database::connect(&database_url).await?;
        nobody_else_works(&database).await?;
        let broker = endpoint.connect("holdfast demonstration").await?;
        let [cam, solo, duo, hall] = add_servers(&operator, &suffix).await?;
        Ok(Self {
            ann: add_terminal(&operator, "ann", &suffix, 36_000).await?,
            bob: add_terminal(&operator, "bob", &suffix, 36_000).await?,
            tim: add_terminal(&operator, "tim", &suffix, TIM_QUOTA_SECONDS).await?,
            biller: Biller::open(&broker, &suffix, timeline.clone()).await?,
            workers: Workers::new(operator.binary.clone(), dir, timeline.clone()),
            timeline,
            suffix,
            operator,
            database,
            broker,
            cam,
            solo,
            duo,
            hall,
            endings: Vec::new(),
            parked: None,
            rabbitmqctl: std::env::var("HOLDFAST_RABBITMQCTL").ok(),
        })
    }

    /// Starts two workers and waits until they share the partitions.
    pub async fn start_workers(&mut self) -> Result<()> {
        self.workers.start()?;
        self.workers.start()?;
        self.partitions_shared().await
    }

    /// Waits until every partition has an owner and every worker owns one.
    async fn partitions_shared(&mut self) -> Result<()> {
        let partitions: i32 = self.database.ask("select partitions from topology", &[]).await?;
        let (workers, database) = (&mut self.workers, &self.database);
        let pids = workers.pids();
        let live = wait::found("the workers share the partitions", PATIENCE, async || {
            workers.check_alive()?;
            let mut live = database.live_workers().await?;
            live.retain(|worker| pids.contains(&worker.pid));
            Ok(is_shared(&live, pids.len(), partitions).then_some(live))
        })
        .await?;
        for worker in live {
            let name = self.workers.name_of(worker.pid).unwrap_or("a worker");
            self.timeline.did(name, &format!("has partitions {:?}", worker.partitions));
        }
        Ok(())
    }

    /// An id of this run.
    pub fn named(&self, name: &str) -> String {
        format!("{name}-{}", self.suffix)
    }

    /// A user and a terminal of it.
    pub async fn add_terminal(&self, name: &str) -> Result<Terminal> {
        add_terminal(&self.operator, name, &self.suffix, TIM_QUOTA_SECONDS).await
    }

    /// Remembers a reservation to inspect afterwards.
    pub fn ended(&mut self, reservation: Uuid, how: &'static str, terminal: &'static str) {
        self.endings.push(Ending { reservation, how, terminal });
    }

    /// Checks that a reservation was settled after its deadline, and prints how long after.
    pub async fn check_lateness(&self, reservation: Uuid) -> Result<()> {
        let lateness = self.database.lateness_of(reservation).await?;
        let what =
            format!("{} settled {lateness} ms after its deadline", words::short(reservation));
        self.timeline.check_that(&what, lateness >= 0);
        Ok(())
    }
}

fn is_shared(live: &[LiveWorker], workers: usize, partitions: i32) -> bool {
    let mut owned: Vec<i32> = live.iter().flat_map(|worker| worker.partitions.clone()).collect();
    owned.sort_unstable();
    let busy = live.iter().filter(|worker| !worker.partitions.is_empty()).count();
    // An installation may have fewer partitions than there are workers here.
    live.len() == workers && busy == workers.min(owned.len()) && owned.into_iter().eq(0..partitions)
}

fn variable(name: &str) -> Result<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.with_context(|| format!("{name} is not set; run this with `./dev demo`"))
}

/// Directory for logs and pid files.
fn state_dir() -> Result<PathBuf> {
    match std::env::var_os("HOLDFAST_DEV_STATE") {
        Some(dir) if !dir.is_empty() => Ok(dir.into()),
        _ => Ok(tempfile::Builder::new().prefix("holdfast-demo.").tempdir()?.keep()),
    }
}

async fn nobody_else_works(database: &Database) -> Result<()> {
    let what = "no other worker runs on this database (the demonstration stops all workers for a \
                while, and can do so only with its own)";
    let alone = async || Ok(database.live_workers().await?.is_empty().then_some(()));
    wait::found(what, OTHERS_PATIENCE, alone).await
}

async fn add_servers(operator: &Operator, suffix: &str) -> Result<[ServerId; 4]> {
    let rate_minor = HALF_MINUTE_MINOR * 120;
    let mut servers = Vec::new();
    for (name, capacity) in [("cam", 1), ("solo", 1), ("duo", 2), ("hall", HALL_CAPACITY)] {
        let id = format!("{name}-{suffix}");
        operator
            .run(&format!(
                "server add {id} --capacity {capacity} --rate-minor {rate_minor} --currency EUR \
                 --lead-seconds {LEAD_SECONDS} --slot-seconds 1 --min-seconds 1 \
                 --connection-url {}",
                connection_url(&id)
            ))
            .await?;
        servers.push(id.parse()?);
    }
    servers.try_into().map_err(|_| anyhow!("four servers"))
}

/// A server's connection URL.
pub fn connection_url(server: &str) -> String {
    format!("rtmp://{server}.example/live")
}

async fn add_terminal(
    operator: &Operator,
    name: &str,
    suffix: &str,
    quota_seconds: i64,
) -> Result<Terminal> {
    let user = format!("{name}-{suffix}");
    let quota = format!("--quota-seconds {quota_seconds} --holds-max 200");
    operator.run(&format!("user add {user} {quota}")).await?;
    let url = operator.add_terminal(&format!("{name}-terminal-{suffix}"), &user).await?;
    Terminal::connect(url, operator.timeline.clone()).await
}
