//! Claims a vhost, or takes it over from another installation.

use anyhow::Result;
use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::broker::connection::Connection;
use crate::broker::installation::{self, Owner, belongs_to};
use crate::broker::lookup::Lookup;
use crate::broker::topology::partition_queue;
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::store::registry::load_installation;

/// Most partitions of any installation; a CHECK says so.
const PARTITIONS_MAX: i32 = 256;

/// What a takeover has found, for programs.
#[derive(Serialize)]
pub(super) struct TakenOver {
    from: Uuid,
    installation: Uuid,
    /// Messages that waited in the partitions' queues.
    waiting: u64,
}

impl TakenOver {
    pub(super) fn text(&self) -> String {
        let Self { from, installation, waiting } = self;
        format!(
            "taken over from installation {from}; the vhost is now that of installation {installation}\n\
             messages that waited: {waiting}; those of unknown terminals are answered with \
             unknown_terminal and become dead letters"
        )
    }
}

/// Marks the vhost as this database's. Refuses another's, unless told to take it over.
pub(super) async fn claim(
    context: &Context,
    database: &Client,
    connection: &Connection,
    take_over: bool,
) -> Result<Option<TakenOver>> {
    let installation = load_installation(database).await?;
    let vhost = context.config.broker()?.vhost();
    let from = match installation::claim(connection, installation).await? {
        Owner::This | Owner::Unclaimed => return Ok(None),
        Owner::Other(Some(other)) if take_over => other,
        Owner::Other(None) if take_over => {
            return refuse(format!(
                "vhost {vhost}: belongs to another installation, and the broker does not say to which; \
                 delete the exchanges whose names end in {} and apply again",
                installation::MARK
            ));
        }
        Owner::Other(other) => return refuse(belongs_to(vhost, other, installation)),
    };
    let waiting = count_waiting(connection).await?;
    installation::release(connection, from).await?;
    match installation::claim(connection, installation).await? {
        Owner::This => Ok(Some(TakenOver { from, installation, waiting })),
        Owner::Unclaimed => {
            refuse(format!("vhost {vhost}: changed meanwhile; run the command again"))
        }
        Owner::Other(other) => refuse(belongs_to(vhost, other, installation)),
    }
}

/// Messages in the partitions' queues. Refuses if one has a consumer: two installations would share it.
async fn count_waiting(connection: &Connection) -> Result<u64> {
    let mut lookup = Lookup::open(connection).await?;
    let mut waiting = 0;
    for partition in 0..PARTITIONS_MAX {
        let Some(queue) = lookup.queue(&partition_queue(partition)).await? else { break };
        if queue.consumers > 0 {
            return refuse(format!(
                "queue {}: has a consumer, a worker of the other installation; stop its workers first",
                queue.name
            ));
        }
        waiting += u64::from(queue.messages);
    }
    lookup.close().await?;
    Ok(waiting)
}
