//! What the database contains at the end.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::domain::interval::Timestamp;
use holdfast::store::admin::servers::NewServer;
use tokio::time::sleep;
use tokio_postgres::{Client, Row, SimpleQueryMessage};
use uuid::Uuid;

use crate::checks::counters::Happened;
use crate::installation::Installation;
use crate::servers;

const INVARIANTS: &str = include_str!("../../../schema/invariants.sql");

const CHANGES: &str = "select reservation_id, seq, from_state, to_state, reason, actor, at
    from history where actor <> 'terminal' order by seq";

/// What the workers' counters count: metric with labels, and how often.
const HAPPENED: &str = "
    select series, count(*) from (
        select 'holdfast_commands_total kind=' || kind || ' outcome=' || outcome from processed_commands
        union all
        select metric || ' ' || case when metric like '%_count' then '' else 'state=' || to_state || ' ' end
            || 'trigger=' || trigger
        from history,
            (values ('holdfast_settlements_total'), ('holdfast_settlement_lateness_seconds_count')) m (metric)
        where actor = 'deadline'
        union all
        select 'holdfast_charges_total' from billing_entries where kind = 'charge') happened (series)
    group by series";

const LIMITS: &str = "select id, coalesce(quota_seconds, quota_default_seconds),
    coalesce(holds_max, holds_default_max)::bigint from users cross join policy";

const PERIODS: &str = "select period_start, period_end
    from quota_periods((select min(start_at) from reservations) - interval '2 days',
                       (select max(end_at) from reservations) + interval '2 days')
    order by period_start";

const SESSIONS: &str = "select pid || ': ' || coalesce(state, '') || ': ' || query
    from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
      and backend_type = 'client backend' and (state like 'idle in transaction%' or query ~ '[a-z]{3}')
    union all select 'prepared: ' || gid from pg_prepared_xacts";

const MOVES: &str =
    "select server_id || ' from ' || from_partition || ' to ' || to_partition || ', '
    || phase || ' since ' || phase_at from moves order by server_id";

/// Tries to find all sessions ended, over some seconds.
const LOOKS: usize = 40;
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub struct Reservation {
    pub terminal: String,
    pub message_id: String,
    pub state: String,
    pub cancel_reason: Option<String>,
    pub held_at: Timestamp,
    pub deadline_at: Timestamp,
}

/// A change that settled a reservation or cancelled it.
pub struct Ending {
    pub reservation: Uuid,
    pub state: String,
    pub reason: Option<String>,
    /// A settlement's delay after the deadline.
    pub lateness_ms: Option<i64>,
}

/// A change that no command caused.
pub struct Change {
    pub reservation: Uuid,
    pub seq: i64,
    pub from: Option<String>,
    pub to: String,
    pub reason: Option<String>,
    /// `deadline` or `operator`.
    pub actor: String,
    pub at: Timestamp,
}

/// A user's limits.
pub struct Limits {
    pub user: String,
    pub quota_seconds: i64,
    pub holds_max: i64,
}

/// A command that was decided.
pub struct Decided {
    pub answer: String,
    pub digest: Vec<u8>,
    pub reservation: Option<Uuid>,
    pub at: Timestamp,
    /// Its position in the order of decisions.
    pub seq: i64,
    pub server: Option<String>,
}

pub struct Entry {
    pub id: Uuid,
    pub kind: String,
    pub reservation: Uuid,
    pub amount_minor: i64,
    pub currency: String,
}

pub struct Facts {
    pub reservations: HashMap<Uuid, Reservation>,
    pub endings: Vec<Ending>,
    /// Commands by terminal and message id.
    pub decided: HashMap<(String, String), Decided>,
    pub entries: Vec<Entry>,
    /// Rows that violate `schema/invariants.sql`.
    pub violations: Vec<String>,
    /// Number of its queries.
    pub invariants: usize,
    pub outbox: i64,
    /// Changes by deadlines and operators, in the order of decisions.
    pub changes: Vec<Change>,
    pub limits: Vec<Limits>,
    /// Quota periods that reservations touch.
    pub periods: Vec<(Timestamp, Timestamp)>,
    /// Servers as they were created.
    pub servers: Vec<NewServer>,
    /// Servers that are still on their way to another partition.
    pub moves: Vec<String>,
    /// What the workers' counters count.
    pub happened: Happened,
    /// Sessions of workers and prepared transactions after all workers have ended.
    pub sessions: Vec<String>,
}

impl Facts {
    pub async fn load(installation: &Installation, seed: u64) -> Result<Self> {
        let client = &installation.database().await?;
        let (violations, invariants) = violations(client).await?;
        let outbox = client.query_one("select count(*) from outbox", &[]).await?.get(0);
        let reservations = "select id, terminal_id, message_id, state, cancel_reason, deadline_at,
                            held_at from reservations";
        let endings = "select reservation_id, to_state, reason, lateness_ms from history
                       where to_state in ('confirmed', 'cancelled')";
        let decided = "select terminal_id, message_id, answer, seq, server_id, digest,
                       reservation_id, decided_at from processed_commands";
        let entries =
            "select id, kind, reservation_id, amount_minor, currency from billing_entries";
        Ok(Self {
            reservations: all(client, reservations, reservation).await?.into_iter().collect(),
            endings: all(client, endings, ending).await?,
            decided: all(client, decided, decision).await?.into_iter().collect(),
            entries: all(client, entries, entry).await?,
            violations,
            invariants,
            outbox,
            changes: all(client, CHANGES, change).await?,
            limits: all(client, LIMITS, limits).await?,
            periods: all(client, PERIODS, |row| (row.get(0), row.get(1))).await?,
            servers: servers::all(seed),
            moves: all(client, MOVES, |row| row.get(0)).await?,
            happened: happened(client).await?,
            sessions: sessions(client).await?,
        })
    }
}

async fn happened(client: &Client) -> Result<Happened> {
    let count = |row: &Row| (row.get(0), row.get::<_, i64>(1).unsigned_abs());
    Ok(all(client, HAPPENED, count).await?.into_iter().collect())
}

async fn all<T>(client: &Client, query: &str, read: fn(&Row) -> T) -> Result<Vec<T>> {
    let rows = client.query(query, &[]).await.with_context(|| query.to_owned())?;
    Ok(rows.iter().map(read).collect())
}

fn reservation(row: &Row) -> (Uuid, Reservation) {
    let reservation = Reservation {
        terminal: row.get(1),
        message_id: row.get(2),
        state: row.get(3),
        cancel_reason: row.get(4),
        deadline_at: row.get(5),
        held_at: row.get(6),
    };
    (row.get(0), reservation)
}

fn ending(row: &Row) -> Ending {
    Ending {
        reservation: row.get(0),
        state: row.get(1),
        reason: row.get(2),
        lateness_ms: row.get(3),
    }
}

fn decision(row: &Row) -> ((String, String), Decided) {
    let decided = Decided {
        answer: row.get(2),
        seq: row.get(3),
        server: row.get(4),
        digest: row.get(5),
        reservation: row.get(6),
        at: row.get(7),
    };
    ((row.get(0), row.get(1)), decided)
}

fn change(row: &Row) -> Change {
    Change {
        reservation: row.get(0),
        seq: row.get(1),
        from: row.get(2),
        to: row.get(3),
        reason: row.get(4),
        actor: row.get(5),
        at: row.get(6),
    }
}

fn limits(row: &Row) -> Limits {
    Limits { user: row.get(0), quota_seconds: row.get(1), holds_max: row.get(2) }
}

/// Waits a little until the database has ended the workers' sessions.
async fn sessions(client: &Client) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = all(client, SESSIONS, |row| row.get(0)).await?;
        if left.is_empty() {
            break;
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(left)
}

fn entry(row: &Row) -> Entry {
    Entry {
        id: row.get(0),
        kind: row.get(1),
        reservation: row.get(2),
        amount_minor: row.get(3),
        currency: row.get(4),
    }
}

/// Rows that violate the invariants, and the number of invariants.
async fn violations(client: &Client) -> Result<(Vec<String>, usize)> {
    let messages = client.simple_query(INVARIANTS).await.context("schema/invariants.sql")?;
    let (mut found, mut queries) = (Vec::new(), 0);
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let text = |column| row.get(column).unwrap_or("?");
                found.push(format!("{}: {}", text(0), text(1)));
            }
            SimpleQueryMessage::CommandComplete(_) => queries += 1,
            _ => {}
        }
    }
    Ok((found, queries))
}
