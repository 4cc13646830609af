//! Requests among very many stored reservations.

use anyhow::Result;

use super::requests::{Requests, full_load};
use super::{Figures, Scale};
use crate::process::Programs;
use crate::rig::{Plan, Rig, SERVERS};

/// Old ones, spread over the years before, and live ones over the calendar ahead. Past the guard.
const STORED: &str =
    "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition,
        start_at, end_at, busy_until, deadline_at, state, cancel_reason, price_minor, currency,
        tariff_version, held_at, reconfirmed_at, settled_at)
    select overlay(oldest_id_of(s.at - interval '7 days')::text
            placing right(gen_random_uuid()::text, 12) from 25)::uuid,
        t.id, 'stored-' || n, t.user_id, 'gpu-' || n % 1000, n % 4, s.at, s.at + interval '30 min',
        s.at + interval '30 min', s.at - interval '6 h',
        case when n > $2 then case n % 3 when 0 then 'cancelled' else 'confirmed' end
             when n % 2 = 0 then 'held' else 'reconfirmed' end,
        case when n > $2 and n % 3 = 0 then 'withdrawn' end, 625, 'EUR', 1,
        s.at - interval '7 days', s.at - interval '6 days',
        case when n > $2 then s.at - interval '6 h' end
    from generate_series(1, $1::bigint) n
    cross join lateral (select date_trunc('day', now()) + case
        when n > $2 then - (n - $2) / 1000 * interval '2 h'
        else interval '2 days 1 h' + n / 1000 * interval '2 h' end as at) s
    join (select id, user_id, row_number() over (order by id) - 1 as place,
              count(*) over () as all_of_them from terminals) t on t.place = n % t.all_of_them";

pub async fn growth(programs: &Programs, scale: &Scale) -> Result<Figures> {
    let plan = Plan::default();
    let mut rates = Vec::new();
    for stored in [None, Some(scale.stored)] {
        let rig = Rig::set_up(&plan).await?;
        if let Some((all, live)) = stored {
            eprintln!("bench:   storing {all} reservations");
            rig.database.batch_execute("set session_replication_role = replica").await?;
            rig.database.execute(STORED, &[&all, &live]).await?;
            rig.database.batch_execute("reset session_replication_role; vacuum analyze").await?;
        }
        let worker = rig.worker(programs, &[])?;
        rig.consumed(plan.partitions).await?;
        rates.push(full_load(&rig, Requests::over(SERVERS), scale).await?);
        worker.stop()?;
        // What was typed in has no history, so the invariants do not hold; only empty ones do.
        match stored {
            None => rig.tear_down().await?,
            Some(_) => rig.remove().await?,
        }
    }
    Ok(vec![("growth empty", rates[0]), ("growth", rates[1])])
}
