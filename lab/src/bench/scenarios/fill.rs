//! Inserts very many reservations with everything that belongs to them, as if terminals had made
//! them over a year: in order of time, spread over all servers, with history, billing entries and
//! events, and with the answers of the last month. All invariants hold for them.
//!
//! It omits notices and the events of cancellations, which no decision reads.

use std::time::Instant;

use anyhow::{Result, bail};
use tokio_postgres::Client;

use crate::rig::Rig;

/// Number of users of the stored reservations: a prime, so that it has no common period with the
/// servers.
const USERS: i64 = 49_999;

/// Tables that are filled.
const TABLES: &str =
    "('reservations', 'processed_commands', 'history', 'billing_entries', 'outbox_messages')";

/// Settings of this session alone, for long statements.
const SETTINGS: &str = "set session_replication_role = replica; set synchronous_commit = off;
    set work_mem = '256MB'; set maintenance_work_mem = '1GB'";

/// Settled ones until now: with nine million, each server has one every 57 minutes.
const SETTLED: &str =
    "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition,
        start_at, end_at, busy_until, deadline_at, state, cancel_reason, price_minor, currency,
        tariff_version, held_at, reconfirmed_at, settled_at)
    select (lpad(to_hex((extract(epoch from s.at - interval '7 d') * 1000)::bigint), 12, '0')
            || '7' || substr(s.noise, 1, 3) || '8' || substr(s.noise, 4, 15))::uuid,
        s.who, s.noise::uuid::text, s.who, v.id, v.partition,
        s.at, s.at + interval '30 min', s.at + interval '30 min', s.at - interval '6 h',
        case when n % 3 > 0 then 'confirmed' else 'cancelled' end,
        case n % 6 when 0 then 'not_reconfirmed' when 3 then 'withdrawn' end, 625, 'EUR', 1,
        s.at - interval '7 d', case when n % 3 > 0 then s.at - interval '6 d' end,
        s.at - case when n % 6 = 3 then interval '5 d' else interval '5 h 59 min 59.9 s' end
    from generate_series(1, $1::bigint) n
    cross join lateral (select md5(n::text) as noise, 'stored-' || n * 7919 % $2::bigint as who,
        date_trunc('hour', now()) - interval '2 h' - (($1 - n) / 1000) * (interval '360 d' / ($1 / 1000))
            - (n * 613 % 1800) * interval '1 s' as at) s
    join servers v on v.id = 'gpu-' || n % 1000";

/// Open ones with deadlines in the next ninety days, made during the last week.
const OPEN: &str =
    "insert into reservations (id, terminal_id, message_id, user_id, server_id, partition,
        start_at, end_at, busy_until, deadline_at, state, price_minor, currency, tariff_version,
        held_at, reconfirmed_at)
    select (lpad(to_hex((extract(epoch from s.held) * 1000)::bigint), 12, '0')
            || '7' || substr(s.noise, 1, 3) || '9' || substr(s.noise, 4, 15))::uuid,
        s.who, s.noise::uuid::text, s.who, v.id, v.partition,
        s.at, s.at + interval '30 min', s.at + interval '30 min', s.at - interval '6 h',
        case when n % 2 = 0 then 'held' else 'reconfirmed' end, 625, 'EUR', 1, s.held,
        case when n % 2 = 1 then s.held + interval '1 s' end
    from generate_series(1, $1::bigint) n
    cross join lateral (select md5('open ' || n) as noise, 'stored-' || n * 7919 % $2::bigint as who,
        now() - interval '7 d' + n * (interval '7 d' / $1) - interval '1 min' as held,
        date_trunc('hour', now()) + interval '2 d' + (n / 1000 * 617 % ($1 / 1000))
            * (interval '87 d' / ($1 / 1000)) + (n * 613 % 3600) * interval '1 s' as at) s
    join servers v on v.id = 'gpu-' || n % 1000";

/// Positions in the order of decisions, all before the worker's.
const NUMBERED: &str = "create temp table numbered as
    select id, 4 * (row_number() over (order by id) - count(*) over () - 1) as seq
    from reservations where terminal_id like 'stored-%'";

/// Rows that belong to the reservations.
const REST: [(&str, &str); 6] = [
    ("history of holds",
     "insert into history select n.seq, r.id, null, 'held', null, 'terminal', terminal_id, 'command',
          message_id, null, server_id, held_at from reservations r join numbered n using (id)"),
    ("history of reconfirmations",
     "insert into history select n.seq + 1, r.id, 'held', 'reconfirmed', null, 'terminal',
          terminal_id, 'command', md5(message_id), null, server_id, reconfirmed_at
      from reservations r join numbered n using (id) where reconfirmed_at is not null"),
    ("history of settlements",
     "insert into history select n.seq + 2, r.id,
          case state when 'confirmed' then 'reconfirmed' else 'held' end, state, cancel_reason,
          case cancel_reason when 'withdrawn' then 'terminal' else 'deadline' end,
          case cancel_reason when 'withdrawn' then terminal_id end,
          case cancel_reason when 'withdrawn' then 'command' else 'message' end,
          case cancel_reason when 'withdrawn' then md5(message_id) end,
          case cancel_reason when 'withdrawn' then null else 100 end, server_id, settled_at
      from reservations r join numbered n using (id) where settled_at is not null
        and (state = 'cancelled' or state = 'confirmed')"),
    ("bills",
     "insert into billing_entries select md5('charge ' || id)::uuid, 'charge', id, null, user_id,
          server_id, 1800, price_minor, currency, tariff_version, settled_at
      from reservations r join numbered n using (id) where state = 'confirmed'"),
    ("events",
     "insert into outbox_messages select id, 'event', 'reservation.confirmed',
          'reservation.confirmed.' || server_id, true,
          json_build_object('subject', reservation_id), created_at from billing_entries"),
    ("answers",
     "insert into processed_commands select terminal_id, message_id, 'request', sha256(message_id::bytea),
          'accepted', 'reservation.accepted', repeat('x', 500), server_id, r.id, n.seq, held_at
      from reservations r join numbered n using (id) where held_at > now() - interval '30 d'"),
];

/// Timers of the open ones, as if their wake-ups were scheduled.
const WAKE_UPS: &str = "insert into timers (partition, due_at, scheduled_until)
    select distinct partition, deadline_at, deadline_at from reservations
    where state in ('held', 'reconfirmed') on conflict do nothing";

/// Stores `all` reservations, of which `open` are open.
pub async fn store(rig: &Rig<'_>, all: i64, open: i64) -> Result<()> {
    let client = &rig.database;
    client.batch_execute(SETTINGS).await?;
    let before = definitions(client).await?;
    for definition in before.iter().rev() {
        client.batch_execute(&definition.drop).await?;
    }
    client
        .batch_execute(&format!(
            "insert into users (id, quota_seconds, holds_max)
                 select 'stored-' || n, 1000000000000, 1000000 from generate_series(0, {USERS}) n;
             insert into terminals (id, user_id) select id, id from users where id like 'stored-%';
             update servers set busy_max_seconds = greatest(busy_max_seconds, 1800);
             analyze"
        ))
        .await?;
    let (settled, watch) = (all - open, Watch::new());
    client.execute(SETTLED, &[&settled, &USERS]).await?;
    client.execute(OPEN, &[&open, &USERS]).await?;
    watch.step(&format!("{all} reservations"));
    client.batch_execute(NUMBERED).await?;
    client.batch_execute("analyze numbered").await?;
    for (name, statement) in REST {
        let rows = client.execute(statement, &[]).await?;
        watch.step(&format!("{name}: {rows}"));
    }
    client.batch_execute("drop table numbered").await?;
    for definition in &before {
        client.batch_execute(&definition.create).await?;
    }
    watch.step("indexes");
    if definitions(client).await? != before {
        bail!("the schema is not what it was");
    }
    client.execute(WAKE_UPS, &[]).await?;
    client.batch_execute("select recount_use()").await?;
    watch.step("what users have in use");
    client
        .batch_execute("reset session_replication_role; reset synchronous_commit; reset work_mem")
        .await?;
    client.batch_execute("vacuum (analyze, freeze)").await?;
    client.batch_execute("checkpoint").await?;
    watch.step("vacuum and checkpoint");
    Ok(())
}

/// Statements that drop and create an index or a constraint.
#[derive(PartialEq)]
struct Definition {
    drop: String,
    create: String,
}

/// Indexes and constraints, in an order in which they can be created.
async fn definitions(client: &Client) -> Result<Vec<Definition>> {
    let query = format!(
        "select drop_it, create_it from (
            select case contype when 'f' then 3 else 1 end as place, conname::text as name,
                format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop_it,
                format('alter table %s add constraint %I %s', conrelid::regclass, conname,
                    pg_get_constraintdef(oid)) as create_it
            from pg_constraint
            where conrelid::regclass::text in {TABLES} and contype in ('p', 'u')
               or conrelid::regclass::text in {TABLES} and confrelid::regclass::text in {TABLES}
            union all
            select 2, i.indexrelid::regclass::text, format('drop index %s', i.indexrelid::regclass),
                pg_get_indexdef(i.indexrelid)
            from pg_index i left join pg_constraint c on c.conindid = i.indexrelid and c.contype in ('p', 'u')
            where i.indrelid::regclass::text in {TABLES} and c.oid is null) all_of_them
        order by place, name"
    );
    let rows = client.query(&query, &[]).await?;
    Ok(rows.iter().map(|row| Definition { drop: row.get(0), create: row.get(1) }).collect())
}

/// Prints how long each step took.
struct Watch(std::cell::Cell<Instant>);

impl Watch {
    fn new() -> Self {
        Self(std::cell::Cell::new(Instant::now()))
    }

    fn step(&self, what: &str) {
        let began = self.0.replace(Instant::now());
        eprintln!("bench:   stored {what} in {:.0} s", began.elapsed().as_secs_f64());
    }
}
