//! What a worker is started with.

use std::time::Duration;

use crate::broker::connection::Endpoint;

/// Most messages decided in one transaction.
pub const BATCH_MAX_DEFAULT: usize = 256;

/// A worker's settings. Whatever must be the same on all replicas is in the database instead.
#[derive(Debug, Clone)]
pub struct Settings {
    /// PostgreSQL URL.
    pub database_url: String,
    /// Broker address with the workers' account.
    pub broker: Endpoint,
    /// Most messages decided in one transaction; the prefetch window is twice that.
    pub batch_max: usize,
    /// How long a drain may take after SIGTERM before what is in hand is left to others.
    pub drain_grace: Duration,
    /// Time between two sweeps of a partition, over all replicas.
    pub sweep_interval: Duration,
    /// Whether to send wake-ups through the delay ladder. Tests switch it off; the sweep alone
    /// then settles, later.
    pub ladder: bool,
    /// Whether to sweep. Tests switch it off; the ladder alone then settles.
    pub sweep: bool,
}

impl Settings {
    /// Default settings for a database and a broker.
    pub fn new(database_url: String, broker: Endpoint) -> Self {
        Self {
            database_url,
            broker,
            batch_max: BATCH_MAX_DEFAULT,
            drain_grace: Duration::from_secs(20),
            sweep_interval: Duration::from_secs(8),
            ladder: true,
            sweep: true,
        }
    }
}
