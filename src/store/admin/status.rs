//! How the installation is doing, as far as the database knows. It only reads, with little work: an
//! operator may look every second.

use serde::Serialize;
use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

use crate::domain::interval::Timestamp;
use crate::message::shape::Shape;
use crate::store::error::StoreError;
use crate::store::membership::DEAD_AFTER_SECONDS;
use crate::store::sql;

/// Most workers that are listed. Rows of dead ones are kept for an hour, so a crash loop leaves many.
const WORKERS_MAX: i64 = 1_000;

/// Most that is counted of what waits: enough to see that something is wrong, in some milliseconds.
pub const COUNTED_MAX: i64 = 10_000;

/// A deadline that passed less than this long ago may be on its way through the queue.
pub const OVERDUE_GRACE_SECONDS: f64 = 5.0;

/// A worker and what it last told.
#[derive(Debug, Clone, Serialize)]
pub struct WorkerLine {
    /// Drawn at its start.
    pub id: Uuid,
    /// Its machine's name.
    pub host: String,
    /// Its process on that machine.
    pub pid: i32,
    /// Of the program; empty if an older version did not tell.
    pub version: String,
    /// By the database's clock.
    pub started_at: Timestamp,
    /// By the database's clock.
    pub heartbeat_at: Timestamp,
    /// Since its last heartbeat; negative if the database's clock was set back.
    pub silent_seconds: f64,
    /// Whether others count it as live.
    pub live: bool,
    /// The partitions that it consumed.
    pub partitions: Vec<i32>,
    /// Messages whose outcome it has committed since it started.
    pub decided: i64,
    /// The same per second, over about fifteen seconds.
    pub decided_per_second: f64,
    /// Its clock less the database's, with the time that a heartbeat takes.
    pub clock_ahead_seconds: f64,
}

/// Workers: live ones first, the longest silent one at the top; then dead ones, the latest first.
pub async fn list_workers(client: &impl GenericClient) -> Result<Vec<WorkerLine>, StoreError> {
    let rows = client.query(sql!("list_workers"), &[&DEAD_AFTER_SECONDS, &WORKERS_MAX]).await?;
    let line = |row: &tokio_postgres::Row| WorkerLine {
        id: row.get("id"),
        host: row.get("host"),
        pid: row.get("pid"),
        version: row.get("version"),
        started_at: row.get("started_at"),
        heartbeat_at: row.get("heartbeat_at"),
        silent_seconds: row.get("silent_seconds"),
        live: row.get("live"),
        partitions: row.get("partitions"),
        decided: row.get("decided"),
        decided_per_second: row.get("decided_per_second"),
        clock_ahead_seconds: row.get("clock_ahead_seconds"),
    };
    Ok(rows.iter().map(line).collect())
}

/// A partition's servers and overdue deadlines.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionState {
    /// Its number.
    pub partition: i32,
    /// How many servers it has.
    pub servers: i64,
    /// Deadlines that passed more than [`OVERDUE_GRACE_SECONDS`] ago, at most [`COUNTED_MAX`].
    pub overdue: i64,
    /// The oldest of them.
    pub overdue_since: Option<Timestamp>,
}

/// All partitions, by number; none before the topology is applied.
pub async fn list_partition_states(client: &Client) -> Result<Vec<PartitionState>, StoreError> {
    let arguments: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
        [&OVERDUE_GRACE_SECONDS, &COUNTED_MAX];
    let rows = client.query(sql!("list_partition_states"), &arguments).await?;
    let state = |row: &tokio_postgres::Row| PartitionState {
        partition: row.get("partition"),
        servers: row.get("servers"),
        overdue: row.get("number"),
        overdue_since: row.get("oldest_at"),
    };
    Ok(rows.iter().map(state).collect())
}

/// What waits to be published; each number at most [`COUNTED_MAX`].
#[derive(Debug, Clone, Serialize)]
pub struct OutboxDepth {
    /// For the billing system.
    pub bills: i64,
    /// For terminals.
    pub notices: i64,
    /// Events for subscribers.
    pub copies: i64,
    /// When the oldest bill or notice was written.
    pub oldest_at: Option<Timestamp>,
}

/// Counts what waits in the outbox.
pub async fn load_outbox_depth(client: &Client) -> Result<OutboxDepth, StoreError> {
    let row = client.query_one(sql!("load_outbox_depth"), &[&COUNTED_MAX]).await?;
    Ok(OutboxDepth {
        bills: row.get("bills"),
        notices: row.get("notices"),
        copies: row.get("copies"),
        oldest_at: row.get("oldest_at"),
    })
}

/// For how many seconds the oldest move of a server has been on its way, if there is one.
pub async fn load_oldest_move_seconds(client: &Client) -> Result<Option<f64>, StoreError> {
    Ok(client.query_one(sql!("load_oldest_move"), &[]).await?.get(0))
}

/// The recorded topology.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedTopology {
    /// Number of partitions.
    pub partitions: i32,
    /// Of these, how many take new servers.
    pub open_partitions: i32,
    /// Levels of the delay ladder.
    pub delay_levels: i32,
    /// When it was first applied.
    pub applied_at: Timestamp,
}

impl RecordedTopology {
    /// What the broker should have.
    pub fn shape(&self) -> Shape {
        Shape { partitions: self.partitions, delay_levels: self.delay_levels.unsigned_abs() }
    }
}

/// Versions of what the database holds, and its clock.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// The database's clock.
    pub now: Timestamp,
    /// PostgreSQL's version, for people.
    pub server: String,
    /// The same as PostgreSQL counts: 150018 is 15.18.
    #[serde(skip)]
    pub server_number: i32,
    /// The latest applied migration.
    pub schema: Option<i32>,
    /// `None` before `holdfast topology apply`.
    pub topology: Option<RecordedTopology>,
}

/// Reads the versions of server, schema and topology.
pub async fn load_versions(client: &Client) -> Result<Versions, StoreError> {
    let row = client.query_one(sql!("load_versions"), &[]).await?;
    let partitions: Option<i32> = row.get("partitions");
    Ok(Versions {
        now: row.get("now"),
        server: row.get("server_version"),
        server_number: row.get("server_version_number"),
        schema: row.get("schema_version"),
        topology: partitions.map(|partitions| RecordedTopology {
            partitions,
            open_partitions: row.get("open_partitions"),
            delay_levels: row.get("delay_levels"),
            applied_at: row.get("applied_at"),
        }),
    })
}
