//! Whole lifecycles, and how late deadlines are settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::consumer::QueueConsumer;
use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::client::{Command, Reply};
use holdfast::message::answer::Answer;
use rand::Rng;
use uuid::Uuid;

use super::requests::{WINDOW, done};
use super::{Bench, Findings};
use crate::cost::Meter;
use crate::load::{Load, Script};
use crate::rig::{Plan, Rig, SERVERS};

/// The servers' lead time: deadlines are near, starts are not.
const LEAD_SECONDS: i32 = 3_600;

/// How soon deadlines are, in seconds from the request.
pub const SOON: std::ops::Range<i64> = 3..7;

pub fn plan() -> Plan {
    Plan { capacity: 1_000, lead_seconds: LEAD_SECONDS, reminder_seconds: 0, ..Plan::default() }
}

/// A time `seconds` from now, on a whole second as all times of reservations are.
fn in_seconds(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp() + seconds, 0).expect("an instant")
}

/// Sends requests, and reconfirms accepted ones.
pub struct Lifecycles(pub std::ops::Range<i64>);

impl Script for Lifecycles {
    fn begin(&self, _terminal: usize) -> Command {
        let mut rng = rand::rng();
        let server = format!("gpu-{}", rng.random_range(0..SERVERS));
        let start = in_seconds(i64::from(LEAD_SECONDS) + rng.random_range(self.0.clone()));
        Command::request(Uuid::new_v4().to_string(), &server, start, start + TimeDelta::seconds(60))
    }

    fn follow(&self, _terminal: usize, reply: &Reply) -> Option<Command> {
        if reply.type_name != "reservation.accepted" {
            return None;
        }
        let Ok(Answer::Accepted { reservation, .. }) = reply.answer() else { return None };
        Some(Command::reconfirm(Uuid::new_v4().to_string(), &reservation.server, reservation.id))
    }
}

/// A biller: receives every event and acknowledges it.
pub struct Biller(Arc<AtomicU64>);

pub async fn bill(rig: &Rig<'_>) -> Result<Biller> {
    let mut consumer = QueueConsumer::open(&rig.broker, BILLING_QUEUE, 1_000).await?;
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        let acknowledger = consumer.acknowledger();
        while let Ok(events) = consumer.collect(1_000).await {
            let last = events.last().map_or(0, |event| event.delivery_tag);
            if acknowledger.ack_through(last).await.is_err() {
                return;
            }
            counted.fetch_add(events.len() as u64, Ordering::Relaxed);
        }
    });
    Ok(Biller(count))
}

impl Biller {
    pub fn events(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until everything is settled and there are as many events as charges. On a slow machine
    /// a deadline can precede its reconfirmation, and then there is no charge.
    pub async fn wait_for_all(&self, rig: &Rig<'_>) -> Result<u64> {
        let query = "select exists (select from reservations where partition between 0 and 3
                and state in ('held', 'reconfirmed')), (select count(*) from billing_entries)";
        let until = Instant::now() + Duration::from_secs(90);
        loop {
            let row = rig.database.query_one(query, &[]).await?;
            let (open, charges): (bool, i64) = (row.get(0), row.get(1));
            if !open && self.events() >= charges.unsigned_abs() {
                return Ok(charges.unsigned_abs());
            }
            if Instant::now() > until {
                bail!("{} of {charges} charges were billed; all settled: {}", self.events(), !open);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Request, answer, reconfirmation, answer, deadline, charge, event: events per second once the
/// first deadlines have passed.
pub async fn lifecycles(bench: &Bench) -> Result<Findings> {
    let plan = Plan { count_statements: bench.profile, ..plan() };
    let rig = Rig::set_up(&bench.site, plan).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let biller = bill(&rig).await?;
    let script = Arc::new(Lifecycles(SOON));
    let load = Load::start(rig.terminals().await?, script, false, true);
    load.fill(WINDOW);
    tokio::time::sleep(Duration::from_secs(SOON.end.unsigned_abs()) + bench.scale.warm_up).await;
    bench.begin_profile(&rig).await?;
    let (meter, began) = (Meter::start()?, Instant::now());
    let (before, reconfirmed) = (biller.events(), done(&load.counts));
    tokio::time::sleep(bench.scale.lifecycles).await;
    let seconds = began.elapsed().as_secs_f64();
    let billed = (biller.events() - before) as f64;
    // If settling falls behind, it is the limit; otherwise requests are.
    let ended = billed.min((done(&load.counts) - reconfirmed) as f64);
    let cost = meter.stop(ended)?;
    let statements = bench.end_profile(&rig).await?;
    let counts = load.counts.clone();
    load.finish().await?;
    let charged = biller.wait_for_all(&rig).await?;
    let instants = "select count(distinct deadline_at), count(distinct (partition, deadline_at))
        from reservations";
    let row = rig.database.query_one(instants, &[]).await?;
    let (seconds_of_deadlines, wake_ups): (i64, i64) = (row.get(0), row.get(1));
    worker.stop()?;
    rig.tear_down().await?;
    Ok(Findings {
        figures: vec![("lifecycles", ended / seconds)],
        costs: vec![("lifecycles", cost)],
        notes: vec![format!(
            "lifecycles: deadlines at {seconds_of_deadlines} seconds, {wake_ups} instants of a \
             partition; {charged} of {} ended with a charge",
            done(&counts)
        )],
        statements,
    })
}

/// Measures how late deadlines at random times within a minute are settled.
pub async fn lone(bench: &Bench) -> Result<Findings> {
    let rig = Rig::set_up(&bench.site, plan()).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let script = Arc::new(Lifecycles(5..65));
    let terminals = rig.terminals().await?;
    let count = terminals.len();
    let load = Load::start(terminals, script, false, false);
    for n in 0..bench.scale.lone {
        load.begin(n % count);
    }
    load.finish().await?;
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let settled = "select count(*) from history where actor = 'deadline'";
        let count: i64 = rig.database.query_one(settled, &[]).await?.get(0);
        if count as usize == bench.scale.lone {
            break;
        }
        if Instant::now() > until {
            bail!("{count} of {} are settled", bench.scale.lone);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let query = "select min(lateness_ms)::float8,
            percentile_cont(0.5) within group (order by lateness_ms),
            percentile_cont(0.99) within group (order by lateness_ms), max(lateness_ms)::float8
        from history where actor = 'deadline'";
    let row = rig.database.query_one(query, &[]).await.context("lateness")?;
    let names = ["lateness min ms", "lateness p50 ms", "lateness p99 ms", "lateness max ms"];
    let figures = names.into_iter().enumerate().map(|(at, name)| (name, row.get(at))).collect();
    worker.stop()?;
    rig.tear_down().await?;
    Ok(Findings { figures, ..Findings::default() })
}
