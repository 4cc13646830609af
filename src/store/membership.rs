//! Who is alive.

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::sql;

/// The channel on which workers nudge each other when one joins or leaves.
pub const CHANNEL: &str = "holdfast_workers";

/// A worker that is silent for this long counts as dead.
pub const DEAD_AFTER_SECONDS: f64 = 5.0;

/// Rows of workers silent for this long are removed.
const PRUNE_AFTER_SECONDS: f64 = 3_600.0;

/// This worker, as others see it.
pub struct Member {
    /// Its id, UUIDv7: workers are ordered by when they joined.
    pub id: Uuid,
    /// Host name, for people.
    pub host: String,
    /// Process id, for people.
    pub pid: i32,
}

/// Subscribes to nudges and clears rows that nobody needs.
pub async fn join(client: &Client) -> Result<(), StoreError> {
    let announced = super::outbox::CHANNEL;
    client.batch_execute(&format!("listen {CHANNEL}; listen {announced}")).await?;
    client.execute(sql!("prune_workers"), &[&PRUNE_AFTER_SECONDS]).await?;
    Ok(())
}

/// What a beat brings back.
pub struct Pulse {
    /// All live workers, in order of id.
    pub live: Vec<Uuid>,
    /// See [`Policy::terminal_rate_max`](super::policy::Policy::terminal_rate_max).
    pub terminal_rate_max: Option<i32>,
}

/// Says that this worker lives, and returns who else does. The first beat nudges the
/// others.
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

/// Says that this worker leaves, and nudges the others to take over.
pub async fn leave(client: &Client, id: Uuid) -> Result<(), StoreError> {
    client.execute("delete from workers where id = $1", &[&id]).await?;
    notify(client).await
}

async fn notify(client: &Client) -> Result<(), StoreError> {
    Ok(client.batch_execute(&format!("notify {CHANNEL}")).await?)
}
