//! Waiting before another try.

use std::time::Duration;

use rand::Rng;

/// First bound on a wait.
const BASE: Duration = Duration::from_millis(100);

/// Largest bound on a wait: a dependency that is back is noticed within this.
const MAX: Duration = Duration::from_secs(5);

/// A random wait, up to a bound that doubles with each failure. Full jitter: replicas that failed
/// together do not come back together.
pub fn full_jitter(failures: u32) -> Duration {
    let bound = BASE.saturating_mul(1 << failures.min(16)).min(MAX);
    rand::rng().random_range(Duration::ZERO..=bound)
}
