//! What is measured.

mod burst;
mod deadlines;
mod growth;
mod requests;
mod scale_out;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::process::Programs;
use crate::report::Report;

/// Names and values that a scenario has measured.
pub type Figures = Vec<(&'static str, f64)>;

/// A scenario, in the order in which they are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    Echo,
    Requests,
    Lifecycles,
    OneByOne,
    HotServer,
    Burst,
    LoneDeadlines,
    Latency,
    ScaleOut,
    Memory,
    Growth,
}

/// How much is measured.
pub struct Scale {
    pub rounds: usize,
    /// Before a rate is measured.
    pub warm_up: Duration,
    /// While a rate is measured.
    pub measured: Duration,
    /// While lifecycles are measured: as many deadline instants as seconds, in each partition.
    pub lifecycles: Duration,
    /// Reservations with one deadline.
    pub burst: i64,
    /// Reservations with deadlines of their own.
    pub lone: usize,
    /// Stored reservations, and how many of them are live.
    pub stored: (i64, i64),
    /// While a worker's memory is watched.
    pub memory: Duration,
}

impl Scale {
    pub fn quick() -> Self {
        let seconds = Duration::from_secs;
        Self {
            rounds: 2,
            warm_up: seconds(2),
            measured: seconds(5),
            lifecycles: seconds(10),
            burst: 20_000,
            lone: 300,
            stored: (1_000_000, 100_000),
            memory: seconds(30),
        }
    }

    pub fn full() -> Self {
        let seconds = Duration::from_secs;
        Self {
            rounds: 3,
            warm_up: seconds(4),
            measured: seconds(15),
            lifecycles: seconds(40),
            burst: 100_000,
            lone: 1_000,
            stored: (10_000_000, 1_000_000),
            memory: seconds(600),
        }
    }
}

impl Scenario {
    pub const ALL: [Scenario; 11] = [
        Scenario::Echo,
        Scenario::Requests,
        Scenario::OneByOne,
        Scenario::HotServer,
        Scenario::Lifecycles,
        Scenario::Burst,
        Scenario::LoneDeadlines,
        Scenario::Latency,
        Scenario::ScaleOut,
        Scenario::Memory,
        Scenario::Growth,
    ];

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
            Scenario::ScaleOut => "scale-out",
            Scenario::Memory => "memory",
            Scenario::Growth => "growth",
        }
    }

    /// Whether `--quick` runs it.
    pub fn is_quick(self) -> bool {
        use Scenario::{Burst, Echo, HotServer, Lifecycles, OneByOne, Requests};
        matches!(self, Echo | Requests | Lifecycles | OneByOne | HotServer | Burst)
    }

    /// Long ones are not run in every round.
    pub fn rounds_max(self) -> usize {
        match self {
            Scenario::Growth | Scenario::Memory => 1,
            Scenario::Burst | Scenario::LoneDeadlines | Scenario::ScaleOut => 2,
            _ => usize::MAX,
        }
    }

    pub async fn run(self, programs: &Programs, scale: &Scale, report: &Report) -> Result<Figures> {
        match self {
            Scenario::Echo => requests::echo(programs, scale).await,
            Scenario::Requests => requests::requests(programs, scale).await,
            Scenario::OneByOne => requests::one_by_one(programs, scale).await,
            Scenario::HotServer => requests::hot_server(programs, scale).await,
            Scenario::Latency => requests::latency(programs, scale, report).await,
            Scenario::Memory => requests::memory(programs, scale).await,
            Scenario::Lifecycles => deadlines::lifecycles(programs, scale).await,
            Scenario::LoneDeadlines => deadlines::lone(programs, scale).await,
            Scenario::Burst => burst::burst(programs, scale).await,
            Scenario::ScaleOut => scale_out::scale_out(programs, scale).await,
            Scenario::Growth => growth::growth(programs, scale).await,
        }
    }
}
