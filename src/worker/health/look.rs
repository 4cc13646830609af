//! Looks at the engines periodically, so that no answer waits for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::check::Check;
use crate::backoff;
use crate::broker::declare;
use crate::store::migrations;
use crate::worker::connections::Connections;
use crate::worker::context::Context;

/// Time between two looks at the exchanges and queues: some hundred round trips of the broker's.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(10);

/// Time between two looks at the schema, which changes by an operator's hand.
const SCHEMA_INTERVAL: Duration = Duration::from_secs(20);

/// Looks for the exchanges and queues while a session lasts.
pub async fn topology(
    context: Arc<Context>,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    let checks = &context.checks;
    loop {
        let looked =
            declare::missing(&connections.publish, context.installation, context.shape()).await;
        match looked {
            Ok(missing) => {
                if !connections.publish.is_blocked() {
                    checks.good(Check::Broker);
                }
                match missing.is_empty() {
                    true => checks.good(Check::Topology),
                    false => checks.wrong(Check::Topology, lacks(&missing)),
                }
            }
            Err(error) => checks.wrong(Check::Broker, error),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(backoff::spread(TOPOLOGY_INTERVAL)) => {}
        }
    }
}

/// Names missing exchanges and queues.
pub fn lacks(missing: &[String]) -> String {
    format!("the broker lacks {}; run `holdfast topology apply`", missing.join(", "))
}

/// Compares the database's migrations with the program's.
pub async fn schema(context: Arc<Context>, stop: CancellationToken) {
    loop {
        match migrations::lacking(&context.pool).await {
            Ok(lacking) if lacking.is_empty() => context.checks.good(Check::Schema),
            Ok(lacking) => {
                let what = format!(
                    "the database lacks {}, or has it otherwise; run `holdfast migrate`",
                    lacking.join(", ")
                );
                context.checks.wrong(Check::Schema, what);
            }
            // The database's own check reports it.
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(backoff::spread(SCHEMA_INTERVAL)) => {}
        }
    }
}
