//! One terminal sends fifty times as much as each of the others. Measures how this affects them,
//! with and without a rate limit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use holdfast::broker::topology::partition_queue;
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use tokio::time::sleep;

use super::requests::{Requests, done};
use super::{Bench, Findings};
use crate::load::{Load, percentile};
use crate::process::Process;
use crate::report::Report;
use crate::rig::{Plan, Rig, SERVERS};

/// How many times more the flooding terminal sends than each of the others.
const FLOOD: f64 = 50.0;

/// Number of the other terminals.
const OTHERS: usize = 24;

/// The others' share of the full load. With the flood, the total exceeds what is possible.
const PART: f64 = 1.0 / 3.0;

/// The full load if no scenario has measured it.
const USUAL: f64 = 3_000.0;

/// The limit, as a multiple of what each of the others sends.
const LIMIT: f64 = 2.0;

/// Pause between two looks at queues and memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether there is a flood, and whether it is limited.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flood {
    None,
    Limited,
    Unlimited,
}

/// Names of the figures: p50 and p99 of the others' answer times.
impl Flood {
    fn names(self) -> [&'static str; 2] {
        match self {
            Flood::None => ["calm p50 ms", "calm p99 ms"],
            Flood::Limited => ["flood, limited: p50 ms", "flood, limited: p99 ms"],
            Flood::Unlimited => ["flood, no limit: p50 ms", "flood, no limit: p99 ms"],
        }
    }
}

/// Everything that takes part.
struct Stage<'a> {
    rig: Rig<'a>,
    worker: Process,
    others: Load,
    flooder: Load,
    /// Commands per second of each of the others.
    rate: f64,
    looks: Channel,
}

/// Maxima that were observed.
#[derive(Default)]
struct Most {
    /// Ready messages in all partitions.
    waiting: u32,
    mib: f64,
}

pub async fn overload(bench: &Bench, report: &Report) -> Result<Findings> {
    let rate = report.median("requests").unwrap_or(USUAL) * PART / OTHERS as f64;
    let mut stage = set_up(bench, rate).await?;
    let mut findings = Findings::default();
    for flood in [Flood::None, Flood::Limited, Flood::Unlimited] {
        stage.set_limit(flood).await?;
        // Wait until workers know the limit and everything is warm.
        stage
            .others
            .at_rate(rate * OTHERS as f64, bench.scale.warm_up.max(Duration::from_secs(3)))
            .await;
        stage.others.answered().await?;
        stage.measure(flood, bench.scale.measured, &mut findings).await?;
    }
    let Stage { rig, worker, others, flooder, .. } = stage;
    let refused = others.counts.refused.load(Ordering::Relaxed);
    ensure!(refused * 10 < done(&others.counts), "{refused} of the others' requests were refused");
    others.finish().await?;
    flooder.finish().await?;
    worker.stop()?;
    rig.tear_down().await?;
    Ok(findings)
}

async fn set_up(bench: &Bench, rate: f64) -> Result<Stage<'_>> {
    let rig = Rig::set_up(&bench.site, Plan { terminals: OTHERS + 1, ..Plan::default() }).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let mut terminals = rig.terminals().await?;
    let flooder = terminals.split_off(OTHERS);
    let script = Arc::new(Requests::over(SERVERS));
    let others = Load::start(terminals, script.clone(), true, false);
    let flooder = Load::flooding(flooder, script);
    let looks = rig.broker.create_channel().await?;
    Ok(Stage { rig, worker, others, flooder, rate, looks })
}

impl Stage<'_> {
    /// Sets the limit for one partition: a terminal's commands are spread over all of them.
    async fn set_limit(&self, flood: Flood) -> Result<()> {
        let limit = self.rate * LIMIT / f64::from(self.rig.plan.partitions);
        let limit = (flood == Flood::Limited).then_some((limit.ceil() as i32).max(1));
        let statement = "update policy set terminal_rate_max = $1";
        self.rig.database.execute(statement, &[&limit]).await?;
        Ok(())
    }

    async fn measure(
        &mut self,
        flood: Flood,
        during: Duration,
        findings: &mut Findings,
    ) -> Result<()> {
        let before = (done(&self.flooder.counts), self.refused());
        let flooding = async {
            if flood != Flood::None {
                self.flooder.at_rate(self.rate * FLOOD, during).await;
            }
        };
        let load = async {
            tokio::join!(self.others.at_rate(self.rate * OTHERS as f64, during), flooding);
            (done(&self.flooder.counts), self.refused())
        };
        let (mut most, mut after) = (Most::default(), before);
        tokio::select! {
            ended = load => after = ended,
            seen = self.watch(&mut most) => seen?,
        }
        let latencies = self.others.answered().await?;
        self.flooder.answered().await?;
        let all = (done(&self.flooder.counts) - before.0, self.refused() - before.1);
        // Otherwise the limit was missing, or the others were limited too.
        ensure!(
            flood != Flood::Limited || all.1 * 2 > all.0,
            "{} of {} were rate limited",
            all.1,
            all.0
        );
        for (name, part) in flood.names().into_iter().zip([0.50, 0.99]) {
            findings.figures.push((name, percentile(&latencies, part).as_secs_f64() * 1_000.0));
        }
        findings.notes.push(format!(
            "overload, {flood:?}: others {:.0}/s each; of the one's {:.0}/s, {:.0}/s were answered \
             meanwhile and {} of {} rate limited; at most {} messages waited; memory up to {:.0} MiB",
            self.rate,
            if flood == Flood::None { 0.0 } else { self.rate * FLOOD },
            (after.0 - before.0) as f64 / during.as_secs_f64(),
            all.1,
            all.0,
            most.waiting,
            most.mib
        ));
        self.keep(flood, &most, findings);
        Ok(())
    }

    fn refused(&self) -> u64 {
        self.flooder.counts.refused.load(Ordering::Relaxed)
    }

    fn keep(&self, flood: Flood, most: &Most, findings: &mut Findings) {
        let waiting = match flood {
            Flood::None => "calm: most waiting",
            Flood::Limited => "flood, limited: most waiting",
            Flood::Unlimited => "flood, no limit: most waiting",
        };
        findings.figures.push((waiting, f64::from(most.waiting)));
    }

    /// Observes queues and memory until it is dropped.
    async fn watch(&self, most: &mut Most) -> Result<()> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        loop {
            let mut waiting = 0;
            for partition in 0..self.rig.plan.partitions {
                let queue = partition_queue(partition);
                let declared =
                    self.looks.queue_declare(queue.as_str().into(), options, Default::default());
                waiting += declared.await?.message_count();
            }
            most.waiting = most.waiting.max(waiting);
            most.mib = most.mib.max(self.worker.memory_mib()?);
            sleep(PAUSE).await;
        }
    }
}
