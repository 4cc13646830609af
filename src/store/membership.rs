//! Heartbeats of live workers.

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::error::StoreError;
use super::{moves, outbox, sql};
use crate::domain::interval::Timestamp;

/// Announces workers that join or leave.
pub const CHANNEL: &str = "holdfast_workers";

/// In `pauses.scope`: every partition, also those added later.
pub const ALL: &str = "all";

/// A worker silent for this long counts as dead.
pub const DEAD_AFTER_SECONDS: f64 = 5.0;

/// Rows silent for this long are deleted; until then they help to explain a crash.
const PRUNE_AFTER_SECONDS: f64 = 3_600.0;

/// This worker. All but the id is for people.
pub struct Member {
    /// Drawn anew at each start.
    pub id: Uuid,
    pub host: String,
    pub pid: i32,
    /// Of the program.
    pub version: &'static str,
}

/// What a worker tells of itself with each heartbeat.
pub struct Report<'a> {
    /// The partitions that it consumes.
    pub partitions: &'a [i32],
    /// Messages whose outcome it has committed since it started.
    pub decided: i64,
    /// The same per second, lately.
    pub decided_per_second: f64,
    /// This process's clock, which decides nothing.
    pub clock: Timestamp,
    /// Where its HTTP endpoint is, if it has one.
    pub http_address: Option<&'a str>,
}

/// Subscribes to workers' and outbox notifications, and prunes old rows.
pub async fn join(client: &Client) -> Result<(), StoreError> {
    let channels =
        format!("listen {CHANNEL}; listen {}; listen {}", outbox::CHANNEL, moves::CHANNEL);
    client.batch_execute(&channels).await?;
    client.execute(sql!("prune_workers"), &[&PRUNE_AFTER_SECONDS]).await?;
    Ok(())
}

pub struct Pulse {
    /// All live workers, by id.
    pub live: Vec<Uuid>,
    /// The first of them with an HTTP endpoint: it exports the installation's figures.
    pub exporter: Option<Uuid>,
    /// Commands per second, partition and terminal; `None`: no limit.
    pub terminal_rate_max: Option<i32>,
    /// Queries per second per terminal and worker; `None`: unlimited.
    pub query_rate_max: Option<i32>,
    /// The number of partitions.
    pub partitions: i32,
    /// What operators have paused, that of all partitions first.
    pub paused: Vec<Paused>,
}

/// A pause of deciding, as workers hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// `None`: every partition.
    pub partition: Option<i32>,
    /// As the operator said.
    pub why: String,
    /// By the database's clock.
    pub since: Timestamp,
}

impl Paused {
    /// Whether it includes this partition.
    pub fn covers(&self, partition: i32) -> bool {
        self.partition.is_none_or(|paused| paused == partition)
    }

    /// The columns of a heartbeat's answer; a CHECK keeps scopes readable.
    fn of_row(row: &Row) -> Vec<Self> {
        let scopes: Vec<String> = row.get("scopes");
        let reasons: Vec<String> = row.get("reasons");
        let since: Vec<Timestamp> = row.get("since");
        let pauses = scopes.iter().zip(reasons).zip(since);
        pauses
            .map(|((scope, why), since)| Self { partition: scope.parse().ok(), why, since })
            .collect()
    }
}

/// Records a heartbeat, and where the worker's HTTP endpoint is; returns the live workers and shared settings.
/// The first one notifies the others. `report` names the partitions that it consumes or is about to.
pub async fn beat(
    client: &Client,
    member: &Member,
    report: &Report<'_>,
) -> Result<Pulse, StoreError> {
    let Member { id, host, pid, version } = member;
    let Report { partitions, decided, decided_per_second, clock, http_address } = report;
    let rows = client
        .query(
            sql!("beat"),
            &[
                id,
                host,
                pid,
                partitions,
                &DEAD_AFTER_SECONDS,
                version,
                decided,
                decided_per_second,
                clock,
                http_address,
            ],
        )
        .await?;
    if rows.iter().any(|row| row.get("joined")) {
        notify(client).await?;
    }
    let own = rows.first().ok_or_else(|| StoreError::Unexpected("no topology".into()))?;
    let exporter = rows.iter().find(|row| row.get("has_endpoint"));
    Ok(Pulse {
        exporter: exporter.map(|row| row.get("id")),
        live: rows.iter().map(|row| row.get("id")).collect(),
        terminal_rate_max: own.get("terminal_rate_max"),
        query_rate_max: own.get("query_rate_max"),
        partitions: own.get("partitions"),
        paused: Paused::of_row(own),
    })
}

/// Notifies the others, which take over its partitions.
pub async fn leave(client: &Client, id: Uuid) -> Result<(), StoreError> {
    client.execute(sql!("delete_worker"), &[&id]).await?;
    notify(client).await
}

async fn notify(client: &Client) -> Result<(), StoreError> {
    Ok(client.batch_execute(&format!("notify {CHANNEL}")).await?)
}
