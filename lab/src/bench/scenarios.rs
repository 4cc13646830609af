//! The list of scenarios, and what they share.

mod burst;
mod deadlines;
mod drain;
mod fill;
mod growth;
mod memory;
mod metrics;
mod moves;
mod overload;
mod queries;
mod recovery;
mod requests;
mod scale_out;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::cost::Cost;
use crate::process::Programs;
use crate::report::Report;
use crate::rig::Rig;
use crate::site::Site;
use crate::statements::{self, Statement};

/// Shared by all scenarios.
pub struct Bench {
    pub site: Site,
    pub programs: Programs,
    pub scale: Scale,
    /// Whether to show the statements on which the database spends most time.
    pub profile: bool,
}

/// A scenario's findings.
#[derive(Default)]
pub struct Findings {
    /// Figures: name and value.
    pub figures: Vec<(&'static str, f64)>,
    /// Processor time for each unit of work, by figure.
    pub costs: Vec<(&'static str, Cost)>,
    /// Sentences for the reader.
    pub notes: Vec<String>,
    pub statements: Vec<Statement>,
}

/// A scenario, in the order in which they are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    Echo,
    Requests,
    OneByOne,
    HotServer,
    Lifecycles,
    Burst,
    LoneDeadlines,
    Latency,
    Queries,
    Metrics,
    Moves,
    ScaleOut,
    Growth,
    Memory,
    Overload,
    Drain,
    Recovery,
}

/// Durations and sizes of the measurements.
pub struct Scale {
    pub rounds: usize,
    /// Warming up before a rate is measured.
    pub warm_up: Duration,
    /// Measurement of a rate.
    pub measured: Duration,
    /// Measurement of lifecycles.
    pub lifecycles: Duration,
    /// Reservations with one deadline.
    pub burst: i64,
    /// Reservations with deadlines of their own.
    pub lone: usize,
    /// Stored reservations, and how many of them are not settled.
    pub stored: (i64, i64),
    /// How often each of the empty and the filled database is measured.
    pub growth_rounds: usize,
    /// Observation of a worker's memory at full load.
    pub memory: Duration,
    /// Workers to stop at full load.
    pub stops: usize,
    /// Measurement while workers start and stop.
    pub coming_and_going: Duration,
    /// Observation of an idle worker.
    pub idle: Duration,
}

impl Scale {
    pub fn quick() -> Self {
        let seconds = Duration::from_secs;
        Self {
            rounds: 2,
            warm_up: Duration::from_millis(1_500),
            measured: seconds(4),
            lifecycles: seconds(8),
            burst: 20_000,
            lone: 300,
            stored: (1_000_000, 100_000),
            growth_rounds: 2,
            memory: seconds(30),
            stops: 20,
            coming_and_going: seconds(15),
            idle: seconds(20),
        }
    }

    pub fn full() -> Self {
        let seconds = Duration::from_secs;
        Self {
            rounds: 3,
            warm_up: seconds(4),
            measured: seconds(12),
            lifecycles: seconds(75),
            burst: 100_000,
            lone: 1_000,
            stored: (10_000_000, 1_000_000),
            growth_rounds: 2,
            memory: seconds(600),
            stops: 20,
            coming_and_going: seconds(40),
            idle: seconds(30),
        }
    }
}

impl Scenario {
    pub fn all() -> &'static [Scenario] {
        Self::value_variants()
    }

    pub fn name(self) -> &'static str {
        match self {
            Scenario::Echo => "echo",
            Scenario::Requests => "requests",
            Scenario::Lifecycles => "lifecycles",
            Scenario::OneByOne => "one by one",
            Scenario::HotServer => "hot server",
            Scenario::Burst => "burst",
            Scenario::LoneDeadlines => "lone deadlines",
            Scenario::Latency => "latency",
            Scenario::Queries => "queries",
            Scenario::Metrics => "metrics",
            Scenario::Moves => "moves",
            Scenario::ScaleOut => "scale-out",
            Scenario::Memory => "memory",
            Scenario::Growth => "growth",
            Scenario::Overload => "overload",
            Scenario::Drain => "drain",
            Scenario::Recovery => "recovery",
        }
    }

    /// Whether `--quick` runs it.
    pub fn is_quick(self) -> bool {
        use Scenario::{Burst, Echo, HotServer, Lifecycles, OneByOne, Requests};
        matches!(self, Echo | Requests | Lifecycles | OneByOne | HotServer | Burst)
    }

    /// Whether it runs in every round; long ones do not.
    pub fn rounds_max(self, quick: bool) -> usize {
        match self {
            Scenario::Moves
            | Scenario::Growth
            | Scenario::Memory
            | Scenario::Drain
            | Scenario::Recovery => 1,
            Scenario::Burst if quick => 1,
            Scenario::Burst
            | Scenario::LoneDeadlines
            | Scenario::Queries
            | Scenario::ScaleOut
            | Scenario::Overload => 2,
            _ => usize::MAX,
        }
    }

    pub async fn run(self, bench: &Bench, report: &Report) -> Result<Findings> {
        match self {
            Scenario::Echo => requests::echo(bench).await,
            Scenario::Requests => requests::requests(bench).await,
            Scenario::OneByOne => requests::one_by_one(bench).await,
            Scenario::HotServer => requests::hot_server(bench).await,
            Scenario::Latency => requests::latency(bench, report).await,
            Scenario::Queries => queries::queries(bench, report).await,
            Scenario::Metrics => metrics::metrics(bench).await,
            Scenario::Moves => moves::moves(bench, report).await,
            Scenario::Memory => memory::memory(bench).await,
            Scenario::Lifecycles => deadlines::lifecycles(bench).await,
            Scenario::LoneDeadlines => deadlines::lone(bench).await,
            Scenario::Burst => burst::burst(bench).await,
            Scenario::ScaleOut => scale_out::scale_out(bench).await,
            Scenario::Growth => growth::growth(bench).await,
            Scenario::Overload => overload::overload(bench, report).await,
            Scenario::Drain => drain::drain(bench).await,
            Scenario::Recovery => recovery::recovery(bench).await,
        }
    }
}

impl Bench {
    /// Counts statements from now on if they are shown.
    async fn begin_profile(&self, rig: &Rig<'_>) -> Result<()> {
        if self.profile && self.site.counts_statements {
            statements::reset(&self.site, &rig.name).await?;
        }
        Ok(())
    }

    /// The statements since [`Bench::begin_profile`].
    async fn end_profile(&self, rig: &Rig<'_>) -> Result<Vec<Statement>> {
        match self.profile && self.site.counts_statements {
            true => statements::since_reset(&self.site, &rig.name).await,
            false => Ok(Vec::new()),
        }
    }
}
