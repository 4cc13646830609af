//! Very many reservations with one deadline, while requests keep coming.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, Utc};

use super::requests::Requests;
use super::{Figures, Scale};
use crate::load::{Load, percentile};
use crate::process::Programs;
use crate::rig::{Plan, Rig, SERVERS};

/// Requests per second that keep coming.
const REQUESTS: f64 = 300.0;

/// How long settling may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Until the deadline: the sweep has to find and arm it, since its reservations are typed in.
const AHEAD: &str = "25 s";

/// As if terminals had reserved and reconfirmed. Past the guard, which would take its time.
const STATEMENTS: [&str; 6] = [
    "insert into servers (id, capacity, rate_minor, currency, slot_seconds, lead_seconds, connection_url, partition)
     select 'burst-' || n, 10000, 1250, 'EUR', 1, 3600, 'https://burst.example/', n % 4
     from generate_series(0, 99) n",
    "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition, start_at,
         end_at, busy_until, deadline_at, state, price_minor, currency, tariff_version, held_at, reconfirmed_at)
     select gen_random_uuid(), t.id, 'burst-' || n, t.user_id, 'burst-' || n % 100, n % 4,
         $1 + interval '1 h', $1 + interval '2 h', $1 + interval '2 h', $1,
         case n % 2 when 0 then 'held' else 'reconfirmed' end, 1250, 'EUR', 1, clock_timestamp(),
         case n % 2 when 1 then clock_timestamp() end
     from generate_series(1, $2::bigint) n
     cross join (select id, user_id from terminals order by id limit 1) t",
    "insert into requests select terminal_id, message_id, 'request', '', 'accepted', '', '', server_id, id,
         0, held_at from reservations where deadline_at = $1 and $2 > 0",
    "insert into history select 0, id, null, 'held', null, 'terminal', terminal_id, 'command', message_id,
         null, server_id, held_at from reservations where deadline_at = $1 and $2 > 0",
    "insert into history select 0, id, 'held', 'reconfirmed', null, 'terminal', terminal_id, 'command',
         message_id, null, server_id, held_at from reservations where state = 'reconfirmed' and deadline_at = $1 and $2 > 0",
    "insert into wake_ups (partition, due_at) select n, $1 from generate_series(0, 3) n where $2 > 0",
];

async fn reserve(rig: &Rig, count: i64) -> Result<DateTime<Utc>> {
    let client = &rig.database;
    client.batch_execute("set session_replication_role = replica").await?;
    let ahead = format!("select date_trunc('second', clock_timestamp()) + interval '{AHEAD}'");
    let deadline: DateTime<Utc> = client.query_one(&ahead, &[]).await?.get(0);
    client.execute(STATEMENTS[0], &[]).await?;
    for statement in &STATEMENTS[1..] {
        client.execute(*statement, &[&deadline, &count]).await?;
    }
    client.batch_execute("reset session_replication_role; analyze").await?;
    Ok(deadline)
}

pub async fn burst(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let plan = Plan::default();
    let rig = Rig::set_up(&plan).await?;
    let worker = rig.worker(programs, &[])?;
    rig.consumed(plan.partitions).await?;
    let deadline = reserve(&rig, scale.burst).await?;
    let script = Arc::new(Requests::over(SERVERS));
    let load = Load::start(rig.terminals().await?, script, true, false).await?;
    let told = async {
        let left = "select exists (select from reservations where partition between 0 and 3
                and state in ('held', 'reconfirmed') and deadline_at <= $1)
            or exists (select from outbox), clock_timestamp()";
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let row = rig.database.query_one(left, &[&deadline]).await?;
            let now: DateTime<Utc> = row.get(1);
            if now > deadline && !row.get::<_, bool>(0) {
                return anyhow::Ok((now - deadline).as_seconds_f64());
            }
        }
    };
    // Only what is asked while the burst is settled counts.
    let requests = async {
        let until = (deadline - Utc::now()).to_std().unwrap_or_default();
        load.at_rate(REQUESTS, until).await;
        load.forget_latencies();
        load.at_rate(REQUESTS, PATIENCE).await;
    };
    let seconds = tokio::select! {
        seconds = told => seconds?,
        () = requests => bail!("the burst is not settled"),
    };
    let latencies = load.finish().await?;
    let first = "select min(lateness_ms)::float8 from history where actor = 'deadline'";
    let first: f64 = rig.database.query_one(first, &[]).await?.get(0);
    worker.stop()?;
    rig.tear_down().await?;
    Ok(vec![
        ("burst", scale.burst as f64 / seconds),
        ("burst first ms", first),
        ("burst requests p99 ms", percentile(&latencies, 0.99).as_secs_f64() * 1_000.0),
    ])
}
