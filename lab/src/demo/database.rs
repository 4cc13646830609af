//! Reads facts from the database.

use anyhow::{Context as _, Result, anyhow};
use holdfast::domain::interval::Timestamp;
use holdfast::store::pool;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use crate::words::Window;

const INVARIANTS: &str = include_str!("../../../schema/invariants.sql");

pub struct Database(Client);

/// A billing entry with what it is for.
pub struct Entry {
    pub id: Uuid,
    pub kind: String,
    pub reservation: Uuid,
    pub state: String,
    pub terminal: String,
    pub server: String,
    pub seconds: i64,
    pub amount_minor: i64,
    pub currency: String,
}

/// A worker with a recent heartbeat.
pub struct LiveWorker {
    pub pid: i32,
    pub partitions: Vec<i32>,
}

impl Database {
    pub async fn connect(url: &str) -> Result<Self> {
        let settings =
            pool::settings(&url.parse().map_err(|error| anyhow!("DATABASE_URL: {error}"))?);
        let (client, connection) =
            settings.connect().await.context("connecting to the database")?;
        tokio::spawn(connection);
        Ok(Self(client))
    }

    /// The first column of the only row.
    pub async fn ask<T>(&self, query: &str, params: &[&(dyn ToSql + Sync)]) -> Result<T>
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        let row = self.0.query_one(query, params).await.with_context(|| query.to_owned())?;
        Ok(row.try_get(0)?)
    }

    /// The database's time.
    pub async fn now(&self) -> Result<Timestamp> {
        self.ask("select clock_timestamp()", &[]).await
    }

    /// A window that starts `start` seconds from now, on a full second.
    pub async fn window(&self, start: i64, length: i64) -> Result<Window> {
        let query = "select date_trunc('second', clock_timestamp())";
        let now: Timestamp = self.ask(query, &[]).await?;
        let start = now + chrono::TimeDelta::seconds(start);
        Ok((start, start + chrono::TimeDelta::seconds(length)))
    }

    pub async fn partition_of(&self, reservation: Uuid) -> Result<i32> {
        self.ask("select partition from reservations where id = $1", &[&reservation]).await
    }

    pub async fn state_of(&self, reservation: Uuid) -> Result<String> {
        self.ask("select state from reservations where id = $1", &[&reservation]).await
    }

    /// Removes a terminal's row, and nothing on the broker.
    pub async fn forget_terminal(&self, terminal: &str) -> Result<()> {
        self.0.execute("delete from terminals where id = $1", &[&terminal]).await?;
        Ok(())
    }

    /// Milliseconds from the deadline to the settlement.
    pub async fn lateness_of(&self, reservation: Uuid) -> Result<i64> {
        let query = "select lateness_ms from history
                     where reservation_id = $1 and actor = 'deadline'";
        self.ask(query, &[&reservation]).await
    }

    pub async fn live_workers(&self) -> Result<Vec<LiveWorker>> {
        let query = "select pid, partitions from workers
                     where heartbeat_at > clock_timestamp() - interval '5 s' order by id";
        let rows = self.0.query(query, &[]).await?;
        Ok(rows.iter().map(|row| LiveWorker { pid: row.get(0), partitions: row.get(1) }).collect())
    }

    /// The billing entries of servers whose ids end in `suffix`, oldest first.
    pub async fn ledger(&self, suffix: &str) -> Result<Vec<Entry>> {
        let query = "select b.id, b.kind, r.id, r.state, r.terminal_id, b.server_id, b.seconds,
                            b.amount_minor, b.currency
                     from billing_entries b join reservations r on r.id = b.reservation_id
                     where b.server_id like '%-' || $1 order by b.created_at, b.id";
        let rows = self.0.query(query, &[&suffix]).await?;
        let entry = |row: &tokio_postgres::Row| Entry {
            id: row.get(0),
            kind: row.get(1),
            reservation: row.get(2),
            state: row.get(3),
            terminal: row.get(4),
            server: row.get(5),
            seconds: row.get(6),
            amount_minor: row.get(7),
            currency: row.get(8),
        };
        Ok(rows.iter().map(entry).collect())
    }

    /// Rows that violate `schema/invariants.sql`.
    pub async fn violations(&self) -> Result<Vec<String>> {
        let messages = self.0.simple_query(INVARIANTS).await.context("schema/invariants.sql")?;
        let violation = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some(format!("{}: {}", row.get(0).unwrap_or("?"), row.get(1).unwrap_or("?")))
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(violation).collect())
    }
}
