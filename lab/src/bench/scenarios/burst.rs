//! Very many reservations with one deadline, while requests keep arriving.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use holdfast::client::Command;
use uuid::Uuid;

use super::deadlines::bill;
use super::requests::Requests;
use super::{Bench, Findings};
use crate::cost::Meter;
use crate::load::{Load, percentile};
use crate::rig::{MANY, Plan, Rig, SERVERS};

/// Requests per second meanwhile.
const REQUESTS: f64 = 300.0;

/// Bound on settling.
const PATIENCE: Duration = Duration::from_secs(240);

/// Requests that have the same deadline: enough that each partition gets one, and with it a
/// wake-up.
const SCHEDULING: usize = 64;

/// Inserts reservations as if terminals had reserved and reconfirmed. It bypasses the guard
/// triggers, which would take long.
const STATEMENTS: [&str; 5] = [
    "insert into servers (id, capacity, rate_minor, currency, slot_seconds, lead_seconds,
         connection_url, partition, busy_max_seconds)
     select 'burst-' || n, 10000, 1250, 'EUR', 1, 3600, 'https://burst.example/', n % 4, 3600
     from generate_series(0, 99) n",
    "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition, start_at,
         end_at, busy_until, deadline_at, state, price_minor, currency, tariff_version, held_at,
         reconfirmed_at)
     select gen_random_uuid(), t.id, 'burst-' || n, t.user_id, 'burst-' || n % 100, n % 4,
         $1::timestamptz + interval '1 h', $1 + interval '2 h', $1 + interval '2 h', $1,
         case n / 100 % 2 when 0 then 'held' else 'reconfirmed' end, 1250, 'EUR', 1,
         clock_timestamp(), case n / 100 % 2 when 1 then clock_timestamp() end
     from generate_series(1, $2::bigint) n
     join (select id, user_id, row_number() over (order by id) - 1 as place,
               count(*) over () as all_of_them from terminals) t on t.place = n % t.all_of_them",
    "insert into processed_commands select terminal_id, message_id, 'request', '', 'accepted', '', '',
         server_id, id, 0, held_at from reservations where deadline_at = $1 and $2::bigint > 0",
    "insert into history select 0, id, null, 'held', null, 'terminal', terminal_id, 'command',
         message_id, null, server_id, held_at from reservations where deadline_at = $1 and $2::bigint > 0",
    "insert into history select 0, id, 'held', 'reconfirmed', null, 'terminal', terminal_id,
         'command', message_id, null, server_id, held_at
     from reservations where state = 'reconfirmed' and deadline_at = $1 and $2::bigint > 0",
];

async fn now(rig: &Rig<'_>) -> Result<DateTime<Utc>> {
    Ok(rig.database.query_one("select clock_timestamp()", &[]).await?.get(0))
}

/// Inserts the reservations and returns their deadline.
async fn reserve(rig: &Rig<'_>, count: i64) -> Result<DateTime<Utc>> {
    let client = &rig.database;
    client.batch_execute("set session_replication_role = replica").await?;
    let ahead = TimeDelta::seconds(8 + count / 10_000);
    let deadline = DateTime::from_timestamp((now(rig).await? + ahead).timestamp(), 0);
    let deadline = deadline.expect("an instant");
    client.execute(STATEMENTS[0], &[]).await?;
    // The wake-ups are left to the requests that follow.
    for statement in &STATEMENTS[1..] {
        client.execute(*statement, &[&deadline, &count]).await?;
    }
    client.batch_execute("reset session_replication_role; select recount_use(); analyze").await?;
    Ok(deadline)
}

/// Makes reservations with the same deadline, so that wake-ups for it are scheduled.
async fn schedule(rig: &Rig<'_>, load: &Load, deadline: DateTime<Utc>) -> Result<()> {
    let start = deadline + TimeDelta::seconds(rig.plan.lead_seconds.into());
    for n in 0..SCHEDULING {
        let id = Uuid::new_v4().to_string();
        let end = start + TimeDelta::hours(1);
        load.say(n % rig.plan.terminals, Command::request(id, &format!("gpu-{n}"), start, end));
    }
    let scheduled = "select count(scheduled_until) from timers where due_at = $1";
    while rig.database.query_one(scheduled, &[&deadline]).await?.get::<_, i64>(0)
        < i64::from(rig.plan.partitions)
    {
        if now(rig).await? > deadline {
            bail!("the deadline has passed before every partition had a wake-up for it");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Waits until all is settled and published. Returns how long after the deadline that was.
async fn told(rig: &Rig<'_>, deadline: DateTime<Utc>) -> Result<f64> {
    let left = "select exists (select from reservations where partition between 0 and 3
            and state in ('held', 'reconfirmed') and deadline_at <= $1)
        or exists (select from outbox)";
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let busy: bool = rig.database.query_one(left, &[&deadline]).await?.get(0);
        let now = now(rig).await?;
        if now > deadline && !busy {
            return Ok((now - deadline).as_seconds_f64());
        }
    }
}

pub async fn burst(bench: &Bench) -> Result<Findings> {
    let plan = Plan { count_statements: bench.profile, terminals: MANY, ..Plan::default() };
    let rig = Rig::set_up(&bench.site, plan).await?;
    let worker = rig.worker(&bench.programs, &[])?;
    rig.consumed().await?;
    let _biller = bill(&rig).await?;
    let terminals = rig.terminals().await?;
    let load = Load::start(terminals, Arc::new(Requests::over(SERVERS)), true, false);
    let deadline = reserve(&rig, bench.scale.burst).await?;
    schedule(&rig, &load, deadline).await?;
    bench.begin_profile(&rig).await?;
    // Only requests during settling count.
    let requests = async {
        let until = (deadline - Utc::now()).to_std().unwrap_or_default();
        load.at_rate(REQUESTS, until).await;
        load.forget_latencies();
        load.at_rate(REQUESTS, PATIENCE).await;
    };
    let meter = Meter::start()?;
    let seconds = tokio::select! {
        seconds = told(&rig, deadline) => seconds?,
        () = requests => bail!("the burst is not settled"),
    };
    let cost = meter.stop(bench.scale.burst as f64)?;
    let statements = bench.end_profile(&rig).await?;
    let latencies = load.finish().await?;
    let first = "select min(lateness_ms)::float8 from history where actor = 'deadline'";
    let first: f64 = rig.database.query_one(first, &[]).await?.get(0);
    worker.stop()?;
    rig.tear_down().await?;
    Ok(Findings {
        figures: vec![
            ("burst", bench.scale.burst as f64 / seconds),
            ("burst first ms", first),
            ("burst requests p99 ms", percentile(&latencies, 0.99).as_secs_f64() * 1_000.0),
        ],
        costs: vec![("burst", cost)],
        notes: Vec::new(),
        statements,
    })
}
