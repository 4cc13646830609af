//! Heartbeats of live workers.

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::{outbox, sql};

/// The channel on which workers notify each other when one joins or leaves.
pub const CHANNEL: &str = "holdfast_workers";

/// A worker that is silent for this long counts as dead.
pub const DEAD_AFTER_SECONDS: f64 = 5.0;

/// Rows of workers that are silent for this long are deleted. Until then they help people who look for a
/// crash.
const PRUNE_AFTER_SECONDS: f64 = 3_600.0;

/// This worker, as others see it.
pub struct Member {
    /// Its id, UUIDv7: workers are ordered by the time they joined.
    pub id: Uuid,
    /// Host name, for people.
    pub host: String,
    /// Process id, for people.
    pub pid: i32,
}

/// Subscribes to the notifications of workers and of the outbox, and deletes rows of workers long gone.
pub async fn join(client: &Client) -> Result<(), StoreError> {
    let channels = format!("listen {CHANNEL}; listen {}", outbox::CHANNEL);
    client.batch_execute(&channels).await?;
    client.execute(sql!("prune_workers"), &[&PRUNE_AFTER_SECONDS]).await?;
    Ok(())
}

/// What a heartbeat returns.
pub struct Pulse {
    /// All live workers, in order of id.
    pub live: Vec<Uuid>,
    /// Most commands per second and partition from one terminal; `None`: no limit.
    pub terminal_rate_max: Option<i32>,
}

/// Records a heartbeat; returns the live workers and the shared settings. The first one notifies the other
/// workers.
pub async fn beat(
    client: &Client,
    member: &Member,
    partitions: &[i32],
) -> Result<Pulse, StoreError> {
    let rows = client
        .query(
            sql!("beat"),
            &[&member.id, &member.host, &member.pid, &partitions, &DEAD_AFTER_SECONDS],
        )
        .await?;
    if rows.iter().any(|row| row.get("joined")) {
        notify(client).await?;
    }
    Ok(Pulse {
        live: rows.iter().map(|row| row.get("id")).collect(),
        terminal_rate_max: rows.first().and_then(|row| row.get("terminal_rate_max")),
    })
}

/// Deletes this worker and notifies the others, so that they take over its partitions.
pub async fn leave(client: &Client, id: Uuid) -> Result<(), StoreError> {
    client.execute(sql!("delete_worker"), &[&id]).await?;
    notify(client).await
}

async fn notify(client: &Client) -> Result<(), StoreError> {
    Ok(client.batch_execute(&format!("notify {CHANNEL}")).await?)
}
