//! Settings of a worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::connection::Endpoint;
use crate::broker::topology::PREFETCH;
use crate::domain::access::Secrets;
use crate::store::url::DatabaseUrl;

/// Messages per transaction: half the prefetch window, so that the next batch is ready while one is
/// published.
pub const BATCH_MAX: usize = PREFETCH as usize / 2;

/// A number that somebody else counts.
pub type Count = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What must be equal on all replicas is in the database instead.
#[derive(Clone)]
pub struct Settings {
    /// PostgreSQL.
    pub database: DatabaseUrl,
    /// Where queries are answered from, if not there: a standby.
    pub database_read: Option<DatabaseUrl>,
    /// Broker, with the workers' account.
    pub broker: Endpoint,
    /// Of which access keys are derived; `None`: confirmed reservations get none.
    pub access: Option<Arc<Secrets>>,
    /// Machine name shown to operators; may be empty.
    pub host: String,
    /// Where `/live`, `/ready` and `/metrics` are answered, if at all.
    pub http_listen: Option<SocketAddr>,
    /// Log lines that could not be written.
    pub log_lines_lost: Count,
    /// Messages per transaction, at most [`BATCH_MAX`].
    pub batch_max: usize,
    /// Time for a drain after SIGTERM; then the rest is left to others.
    pub drain_grace: Duration,
    /// Time between two sweeps of a partition, over all replicas.
    pub sweep_interval: Duration,
    /// Whether to use the delay ladder. Tests turn it off; then only the sweep sends wake-ups,
    /// later.
    pub ladder: bool,
    /// Whether to sweep. Tests turn it off and rely on the ladder.
    pub sweep: bool,
}
