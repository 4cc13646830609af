//! Heartbeats of live workers.

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::{moves, outbox, sql};

/// Announces workers that join or leave.
pub const CHANNEL: &str = "holdfast_workers";

/// A worker silent for this long counts as dead.
pub const DEAD_AFTER_SECONDS: f64 = 5.0;

/// Rows silent for this long are deleted; until then they help to explain a crash.
const PRUNE_AFTER_SECONDS: f64 = 3_600.0;

/// This worker. Host and process id are for people.
pub struct Member {
    /// UUIDv7: orders workers by the time they joined.
    pub id: Uuid,
    pub host: String,
    pub pid: i32,
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
}

/// Records a heartbeat, and where the worker's HTTP endpoint is; returns the live workers and shared settings.
/// The first one notifies the others.
pub async fn beat(
    client: &Client,
    member: &Member,
    partitions: &[i32],
    http_address: Option<&str>,
) -> Result<Pulse, StoreError> {
    let rows = client
        .query(
            sql!("beat"),
            &[
                &member.id,
                &member.host,
                &member.pid,
                &partitions,
                &DEAD_AFTER_SECONDS,
                &http_address,
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
