//! Waits for facts, with a bound.

use std::time::Duration;

use anyhow::{Result, anyhow};

/// Bound on every wait. Deadlines are at most seconds away, the sweep replaces a lost wake-up
/// within ten more, and a dead worker is noticed after five.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `find` finds something.
pub async fn found<T>(
    what: &str,
    patience: Duration,
    mut find: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let looking = async {
        loop {
            match find().await {
                Ok(None) => tokio::time::sleep(LOOK_INTERVAL).await,
                Ok(Some(found)) => return Ok(found),
                Err(error) => return Err(error),
            }
        }
    };
    within(what, patience, looking).await
}

/// Waits for a future.
pub async fn within<T>(
    what: &str,
    patience: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let overdue = |_| anyhow!("waited {} s in vain: {what}", patience.as_secs());
    tokio::time::timeout(patience, work).await.map_err(overdue)?
}

/// Waits until `fact` holds.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    found(what, PATIENCE, async || Ok(fact().await?.then_some(()))).await
}
