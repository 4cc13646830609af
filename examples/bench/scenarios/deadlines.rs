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
use super::{Figures, Scale};
use crate::load::{Load, Script};
use crate::process::Programs;
use crate::rig::{Plan, Rig, SERVERS};

/// The servers' lead time; deadlines are soon, starts are not.
const LEAD_SECONDS: i32 = 3_600;

/// How soon deadlines are, in seconds from the request.
const SOON: std::ops::Range<i64> = 6..12;

fn plan() -> Plan {
    Plan { capacity: 1_000, lead_seconds: LEAD_SECONDS, reminder_seconds: 0, ..Plan::default() }
}

/// An instant so many seconds from now, on a whole second as all times of reservations are.
fn in_seconds(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp() + seconds, 0).expect("an instant")
}

/// Requests, and reconfirms what is accepted.
struct Lifecycles(std::ops::Range<i64>);

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

/// A biller: takes every event and acknowledges it.
async fn bill(rig: &Rig) -> Result<Arc<AtomicU64>> {
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
    Ok(count)
}

/// Request, answer, reconfirmation, answer, deadline, charge, event: events per second once the
/// first deadlines have passed.
pub async fn lifecycles(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let plan = plan();
    let rig = Rig::set_up(&plan).await?;
    let worker = rig.worker(programs, &[])?;
    rig.consumed(plan.partitions).await?;
    let events = bill(&rig).await?;
    let script = Arc::new(Lifecycles(SOON));
    let load = Load::start(rig.terminals().await?, script, false, true).await?;
    load.fill(WINDOW);
    tokio::time::sleep(Duration::from_secs(SOON.end.unsigned_abs()) + scale.warm_up).await;
    let (before, reconfirmed, began) =
        (events.load(Ordering::Relaxed), done(&load.counts), Instant::now());
    tokio::time::sleep(scale.lifecycles).await;
    let seconds = began.elapsed().as_secs_f64();
    let billed = (events.load(Ordering::Relaxed) - before) as f64 / seconds;
    // If settling falls behind, that is what limits; if it catches up, requests do.
    let begun = (done(&load.counts) - reconfirmed) as f64 / seconds;
    let counts = load.counts.clone();
    load.finish().await?;
    let all = done(&counts);
    let until = Instant::now() + Duration::from_secs(60);
    while events.load(Ordering::Relaxed) < all {
        if Instant::now() > until {
            bail!("{} of {all} were billed", events.load(Ordering::Relaxed));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.stop()?;
    rig.tear_down().await?;
    Ok(vec![("lifecycles", billed.min(begun))])
}

/// Deadlines at random instants within a minute: how late each is settled.
pub async fn lone(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let plan = plan();
    let rig = Rig::set_up(&plan).await?;
    let worker = rig.worker(programs, &[])?;
    rig.consumed(plan.partitions).await?;
    let script = Arc::new(Lifecycles(5..65));
    let load = Load::start(rig.terminals().await?, script, false, false).await?;
    for n in 0..scale.lone {
        load.begin(n % plan.terminals);
    }
    load.finish().await?;
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let settled = "select count(*) from history where actor = 'deadline'";
        let count: i64 = rig.database.query_one(settled, &[]).await?.get(0);
        if count as usize == scale.lone {
            break;
        }
        if Instant::now() > until {
            bail!("{count} of {} are settled", scale.lone);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let query = "select min(lateness_ms)::float8,
            percentile_cont(0.5) within group (order by lateness_ms),
            percentile_cont(0.99) within group (order by lateness_ms), max(lateness_ms)::float8
        from history where actor = 'deadline'";
    let row = rig.database.query_one(query, &[]).await.context("lateness")?;
    let figures = vec![
        ("lateness min ms", row.get(0)),
        ("lateness p50 ms", row.get(1)),
        ("lateness p99 ms", row.get(2)),
        ("lateness max ms", row.get(3)),
    ];
    worker.stop()?;
    rig.tear_down().await?;
    Ok(figures)
}
