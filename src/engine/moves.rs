//! Moving servers to other partitions, in queue order: the steps that need an operator's rights.
//!
//! ```text
//! begin      the move is recorded
//! advance    bind to the new queue | unbind from the old one | workers publish the fence and move
//! ```
//!
//! Each step is recorded before the next one begins, so that after a crash [`advance`] goes on where it
//! stood. See `docs/decisions/0023-servers-move-behind-a-fence.md`.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::broker::BrokerError;
use crate::broker::connection::Connection;
use crate::broker::routes::{self, Route};
use crate::crash_point;
use crate::store::admin::moves::{OpenMove, Phase, list_moves, update_phase};
use crate::store::error::StoreError;

/// Time between two looks at moves that workers end.
const PAUSE: Duration = Duration::from_millis(20);

/// A step that failed. The moves stay where they are, and can be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Takes all open moves to where workers end them.
///
/// Both queues get a server's commands for a moment: the old partition decides them, the new one drops
/// its copies. The second phase is recorded before the first binding is removed, since from there on a
/// reconfirmation may stand in the new queue alone: nothing of the server is settled until the fence.
pub async fn advance(client: &Client, connection: &Connection) -> Result<(), MoveError> {
    let open = list_moves(client).await?;
    let in_phase = |phase| open.iter().filter(move |open| open.phase == phase);
    crash_point!("move-begun", !open.is_empty());
    let binding: Vec<Route> = in_phase(Phase::Binding).map(to).collect();
    if !binding.is_empty() {
        routes::bind(connection, &binding).await?;
        crash_point!("move-bound");
        update_phase(client, Phase::Binding, Phase::Unbinding).await?;
        crash_point!("move-unbinding");
    }
    let unbinding: Vec<Route> =
        open.iter().filter(|open| open.phase != Phase::Fencing).map(from).collect();
    if !unbinding.is_empty() {
        routes::unbind(connection, &unbinding).await?;
        crash_point!("move-unbound");
        update_phase(client, Phase::Unbinding, Phase::Fencing).await?;
        crash_point!("move-fencing");
    }
    Ok(())
}

/// Waits until workers have ended all open moves, for at most `patience`. Returns those that are not over.
pub async fn settled(client: &Client, patience: Duration) -> Result<Vec<OpenMove>, StoreError> {
    let over = async {
        while !list_moves(client).await?.is_empty() {
            sleep(PAUSE).await;
        }
        Ok(Vec::new())
    };
    match timeout(patience, over).await {
        Ok(over) => over,
        Err(_) => list_moves(client).await,
    }
}

fn to(open: &OpenMove) -> Route {
    Route { server: open.server.clone(), partition: open.to }
}

fn from(open: &OpenMove) -> Route {
    Route { server: open.server.clone(), partition: open.from }
}
