//! What a worker is started with.

use std::time::Duration;

use crate::broker::connection::Endpoint;
use crate::broker::topology::PREFETCH;
use crate::store::url::DatabaseUrl;

/// Most messages decided in one transaction: half of the prefetch window, so that the next batch
/// is at hand while one is on its way out.
pub const BATCH_MAX: usize = PREFETCH as usize / 2;

/// A worker's settings. Whatever must be the same on all replicas is in the database instead.
#[derive(Clone)]
pub struct Settings {
    /// PostgreSQL.
    pub database: DatabaseUrl,
    /// Broker address with the workers' account.
    pub broker: Endpoint,
    /// Name of the machine, which the table of workers shows to operators; may be empty.
    pub host: String,
    /// Most messages decided in one transaction, at most [`BATCH_MAX`].
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
