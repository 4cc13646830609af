//! Looks whether the vhost is this installation's.
//!
//! A worker on another installation's vhost would decide commands that are not meant for its database.

use std::time::Duration;

use super::connections::Connections;
use super::context::Context;
use crate::broker::BrokerError;
use crate::broker::installation::{self, Owner, belongs_to};
use crate::store::pool::{Session, bounded};
use crate::store::registry;

/// How soon a worker leaves a vhost that was taken over. Taking over refuses while workers consume, so
/// this is for one that begins at that moment.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Why the vhost must be left alone: it is another installation's, or the database has become another one.
pub async fn check(
    context: &Context,
    connections: &Connections,
) -> Result<Option<String>, BrokerError> {
    if let Some(why) = renewed(context).await {
        return Ok(Some(why));
    }
    match installation::owner(&connections.publish, context.installation).await? {
        // What is missing is named with the rest of the topology.
        Owner::This | Owner::Unclaimed => Ok(None),
        Owner::Other(other) => {
            let vhost = context.settings.broker.vhost();
            Ok(Some(belongs_to(vhost, other, context.installation)))
        }
    }
}

/// Whether the database got another id since the worker started. That is refused while workers live, so this is for
/// one that started at that moment. A failed look says nothing.
async fn renewed(context: &Context) -> Option<String> {
    let looked = bounded("looking at the installation's id", async {
        let session = Session::take(&context.pool).await?;
        let id = registry::load_installation(session.client()).await?;
        session.finish();
        Ok(id)
    });
    let id = looked.await.ok().filter(|id| *id != context.installation)?;
    Some(format!(
        "this database has become installation {id}, and was {} when this worker started; restart the worker, with a \
         vhost of its own in AMQP_URL",
        context.installation
    ))
}

/// Returns the reason when the vhost has become another installation's.
pub async fn lost(context: &Context, connections: &Connections) -> String {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        // A failed look says nothing: the connection's end is noticed elsewhere.
        if let Ok(Some(why)) = check(context, connections).await {
            return why;
        }
    }
}
