//! Ends a worker that an engine refuses for too long.
//!
//! Retries heal an outage. They do not heal a revoked password or a replaced authority, and a worker that
//! retries them for ever looks alive. A supervisor that sees exit code 78 can tell people.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::context::Context;

/// How late the end of patience is noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
#[error(
    "{engine} has refused the account or password of {setting}, or its certificate was not trusted, for {} s; \
     correct the setting or the account and start the worker again",
    .lasting.as_secs()
)]
pub struct Hopeless {
    engine: &'static str,
    setting: &'static str,
    lasting: Duration,
}

/// Stops the worker once an engine has refused it for too long; returns why. `None` if stopped for another
/// reason.
pub(super) async fn run(context: Arc<Context>, stop: CancellationToken) -> Option<Hopeless> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(CHECK_INTERVAL) => {}
        }
        if let Some(hopeless) = hopeless(&context) {
            error!("{hopeless}");
            stop.cancel();
            return Some(hopeless);
        }
    }
}

fn hopeless(context: &Context) -> Option<Hopeless> {
    let settings = &context.settings;
    let read = settings.database_read.as_ref().and_then(|url| url.hopeless());
    [
        ("the database", "DATABASE_URL", settings.database.hopeless()),
        ("the database for queries", "DATABASE_READ_URL", read),
        ("the broker", "AMQP_URL", settings.broker.hopeless()),
    ]
    .into_iter()
    .find_map(|(engine, setting, lasting)| {
        lasting.map(|lasting| Hopeless { engine, setting, lasting })
    })
}
