//! Connections to PostgreSQL, every one with bounds on everything that can hang.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use tokio_postgres::NoTls;

use super::error::StoreError;

/// Waiting for, opening and recycling a connection are each bounded by this.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose peer does not acknowledge for this long is dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of every session. A batch takes milliseconds; these are what a stuck one may take.
/// An idle transaction is a frozen worker's: its locks must not outlive the takeover of its
/// partitions for long.
const SESSION_OPTIONS: &str = "-c statement_timeout=20s -c lock_timeout=5s \
    -c idle_in_transaction_session_timeout=10s -c timezone=UTC \
    -c default_transaction_isolation=read\\ committed";

/// A batch's statements look rows up by index, through arrays. With these, each is planned once per
/// connection, for any array, and no statistics of a young table can talk the planner into reading it
/// from end to end; without them, planning took as long as executing.
const PLANNER_OPTIONS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// The connection settings of `url` with Holdfast's own added.
pub fn settings(url: &str) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = url.parse()?;
    let options = match config.get_options() {
        Some(given) => format!("{SESSION_OPTIONS} {given}"),
        None => SESSION_OPTIONS.to_owned(),
    };
    config
        .options(options)
        .application_name("holdfast")
        .connect_timeout(CONNECTION_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives_idle(TCP_USER_TIMEOUT);
    Ok(config)
}

/// A pool of at most `size` connections for the work of batches, sweeps, relays and pruning.
pub fn open(mut settings: tokio_postgres::Config, size: usize) -> Pool {
    let given = settings.get_options().unwrap_or_default();
    let options = format!("{PLANNER_OPTIONS} {given}");
    settings.options(options);
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(settings, NoTls, manager_config))
        .max_size(size)
        .wait_timeout(Some(CONNECTION_TIMEOUT))
        .create_timeout(Some(CONNECTION_TIMEOUT))
        .recycle_timeout(Some(CONNECTION_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a runtime is set, which is all that the timeouts need")
}

/// A pooled connection inside a transaction.
///
/// Dropped without [`Session::finish`], it is thrown away instead of going back to the pool: its
/// transaction may still be open and a statement may still be running on it.
pub struct Session(Option<Object>);

impl Session {
    /// Takes a connection from the pool. The caller begins the transaction.
    pub async fn take(pool: &Pool) -> Result<Self, StoreError> {
        Ok(Self(Some(pool.get().await?)))
    }

    /// The connection.
    pub fn client(&self) -> &ClientWrapper {
        self.0.as_ref().expect("only dropping empties it")
    }

    /// Gives the connection back after a commit or rollback that succeeded.
    pub fn finish(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
