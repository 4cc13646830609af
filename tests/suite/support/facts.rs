//! Waiting on facts.

use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a fact may take. Far more than anything takes on a busy machine; a test that gets here
/// has failed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `fact` holds.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !fact().await {
        assert!(started.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until `find` finds something.
pub async fn found<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "never found: {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
