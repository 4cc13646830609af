//! Connections to PostgreSQL, with bounds on everything that can hang.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use rustls::ClientConfig;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::StoreError;
use super::url::DatabaseUrl;

/// Bound on waiting for, on opening and on recycling a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection whose peer does not acknowledge for this long is dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bound on one exchange with the database outside of a batch. Longer than `statement_timeout`, which does
/// not run while a commit waits for a standby.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of every session: bounds on a stuck batch; a healthy one takes milliseconds. An idle
/// transaction belongs to a frozen worker, and its locks must end soon after others take over its
/// partitions.
const SESSION_OPTIONS: &str = "-c statement_timeout=20s -c lock_timeout=5s \
    -c idle_in_transaction_session_timeout=10s -c timezone=UTC \
    -c default_transaction_isolation=read\\ committed";

/// A batch's statements look rows up by index, through arrays. With these settings each is planned once
/// per connection, for any array, and statistics of a young table cannot lead to a sequential scan.
/// Without them, planning took as long as executing.
/// See `docs/decisions/0022-statements-are-planned-once.md`.
const PLANNER_OPTIONS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// How to connect: address, account and trusted authorities.
#[derive(Clone)]
pub struct Settings {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

/// The future that drives a connection and yields its messages.
pub type Driver = tokio_postgres::Connection<Socket, Stream>;
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Settings {
    /// Connects only to a server that takes writes: no standby, no former primary.
    pub fn writable(mut self) -> Self {
        self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        self
    }

    /// Connects.
    pub async fn connect(&self) -> Result<(Client, Driver), StoreError> {
        Ok(self.config.connect(self.tls.clone()).await?)
    }
}

/// Returns the connection settings of `url` with the limits of Holdfast's sessions.
pub fn settings(url: &DatabaseUrl) -> Settings {
    let mut settings = unlimited(url);
    let options = match settings.config.get_options() {
        Some(given) => format!("{SESSION_OPTIONS} {given}"),
        None => SESSION_OPTIONS.to_owned(),
    };
    settings
        .config
        .options(options)
        .application_name("holdfast")
        .connect_timeout(CONNECTION_TIMEOUT)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .keepalives_idle(TCP_USER_TIMEOUT);
    settings
}

/// Returns the connection settings of `url` as they stand.
pub fn unlimited(url: &DatabaseUrl) -> Settings {
    let tls = MakeRustlsConnect::new(ClientConfig::clone(&url.trust));
    Settings { config: url.config.clone(), tls }
}

/// Opens a pool of at most `size` connections to a server that takes writes, for batches, sweeps, relays
/// and pruning.
pub fn open(settings: Settings, size: usize) -> Pool {
    let mut settings = settings.writable();
    let given = settings.config.get_options().unwrap_or_default();
    let options = format!("{PLANNER_OPTIONS} {given}");
    settings.config.options(options);
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_config(settings.config, settings.tls, manager_config))
        .max_size(size)
        .wait_timeout(Some(CONNECTION_TIMEOUT))
        .create_timeout(Some(CONNECTION_TIMEOUT))
        .recycle_timeout(Some(CONNECTION_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a runtime is set, which is all that the timeouts need")
}

/// Bounds an exchange with the database. After a timeout its outcome is unknown.
pub async fn bounded<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(EXCHANGE_TIMEOUT, work).await;
    outcome.map_err(|_| StoreError::Timeout(what))?
}

/// A pooled connection, mostly inside a transaction.
///
/// Dropped without [`Session::finish`], it is closed instead of returned to the pool: a transaction may be
/// open or a statement running on it, or its server may be read-only by now.
pub struct Session(Option<Object>);

impl Session {
    /// Takes a connection from the pool. The caller begins a transaction if it needs one.
    pub async fn take(pool: &Pool) -> Result<Self, StoreError> {
        Ok(Self(Some(pool.get().await?)))
    }

    /// Returns the connection.
    pub fn client(&self) -> &ClientWrapper {
        self.0.as_ref().expect("only dropping empties it")
    }

    /// Returns the connection to the pool, after a commit, a rollback or a successful statement.
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
