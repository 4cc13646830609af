//! Moves of servers to other partitions, as operators' commands take them forward.

use strum::{EnumString, IntoStaticStr};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::domain::id::ServerId;
use crate::store::error::StoreError;
use crate::store::moves::CHANNEL;
use crate::store::sql;

/// How far a move has come; the schema says what workers make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// The server's commands may go to both queues.
    Binding,
    /// They stop going to the old queue.
    Unbinding,
    /// They go to the new queue only. Workers do the rest.
    Fencing,
}

impl Phase {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A move that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenMove {
    /// The server's id.
    pub server: String,
    /// The partition that it leaves.
    pub from: i32,
    /// The partition that it goes to.
    pub to: i32,
    /// Names the move.
    pub fence: Uuid,
    /// How far it has come.
    pub phase: Phase,
}

fn read(row: &Row) -> Result<OpenMove, StoreError> {
    let phase: &str = row.get("phase");
    Ok(OpenMove {
        server: row.get("server_id"),
        from: row.get("from_partition"),
        to: row.get("to_partition"),
        fence: row.get("fence"),
        phase: phase
            .parse()
            .map_err(|_| StoreError::Unexpected(format!("moves.phase {phase:?}")))?,
    })
}

/// Begins moves, and returns those that are begun. Not begun is the move of an unknown server, of one that
/// moves already or is there already, and one that could make two partitions wait for each other: no
/// partition may be left by one server and entered by another at a time.
pub async fn insert_moves(
    client: &Client,
    wanted: &[(ServerId, i32)],
) -> Result<Vec<OpenMove>, StoreError> {
    let servers: Vec<&str> = wanted.iter().map(|(server, _)| server.as_str()).collect();
    let targets: Vec<i32> = wanted.iter().map(|(_, to)| *to).collect();
    let rows = client.query(sql!("insert_moves"), &[&servers, &targets]).await?;
    rows.iter().map(read).collect()
}

/// All moves that are not over, by server.
pub async fn list_moves(client: &Client) -> Result<Vec<OpenMove>, StoreError> {
    client.query(sql!("list_moves"), &[]).await?.iter().map(read).collect()
}

/// Takes moves from one phase to the next, and returns how many. Workers are notified.
pub async fn update_phase(client: &Client, from: Phase, to: Phase) -> Result<u64, StoreError> {
    let changed = client.execute(sql!("update_phase"), &[&from.as_str(), &to.as_str()]).await?;
    client.batch_execute(&format!("notify {CHANNEL}")).await?;
    Ok(changed)
}
