//! Connections to PostgreSQL, with bounds on everything that can hang.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use futures::future::BoxFuture;
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

use super::error::{StoreError, describe, is_refusal};
use super::url::DatabaseUrl;

/// Bound on waiting for, opening and recycling a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer that does not acknowledge for this long is dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bound on one exchange outside a batch. Longer than `statement_timeout`, which does not run while a
/// commit waits for a standby.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bounds on a stuck batch; a healthy one takes milliseconds. An idle transaction belongs to a frozen
/// worker: its locks must end soon after the takeover.
const SESSION_OPTIONS: &str = "-c statement_timeout=20s -c lock_timeout=5s \
    -c idle_in_transaction_session_timeout=10s -c timezone=UTC \
    -c default_transaction_isolation=read\\ committed";

/// Each statement is planned once per connection, for any array, and statistics of a young table cannot
/// cause a sequential scan. Otherwise planning took as long as executing. See
/// `docs/decisions/0022-statements-are-planned-once.md`.
const PLANNER_OPTIONS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// How to connect. The URL's file and that of the authorities are read at every connect.
#[derive(Clone)]
pub struct Settings {
    url: DatabaseUrl,
    limited: bool,
    writable: bool,
    planned: bool,
}

/// Drives a connection and yields its messages.
pub type Driver = tokio_postgres::Connection<Socket, Stream>;
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Settings {
    /// Accepts no standby and no former primary.
    pub fn writable(self) -> Self {
        Self { writable: true, ..self }
    }

    /// Connects.
    pub async fn connect(&self) -> Result<(Client, Driver), StoreError> {
        Ok(self.connect_now().await?)
    }

    async fn connect_now(&self) -> Result<(Client, Driver), tokio_postgres::Error> {
        let (config, tls) = self.current();
        let connected = config.connect(tls).await;
        self.url.note(connected.as_ref().is_err_and(is_refusal));
        connected
    }

    /// What the URL says now, with Holdfast's own settings.
    fn current(&self) -> (tokio_postgres::Config, MakeRustlsConnect) {
        let target = self.url.current();
        let mut config = target.config.clone();
        let options = [
            self.planned.then_some(PLANNER_OPTIONS),
            self.limited.then_some(SESSION_OPTIONS),
            target.config.get_options(),
        ];
        let options: Vec<&str> = options.into_iter().flatten().collect();
        if !options.is_empty() {
            config.options(options.join(" "));
        }
        if self.limited {
            config
                .application_name("holdfast")
                .connect_timeout(CONNECTION_TIMEOUT)
                .tcp_user_timeout(TCP_USER_TIMEOUT)
                .keepalives_idle(TCP_USER_TIMEOUT);
        }
        if self.writable {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        (config, MakeRustlsConnect::new(ClientConfig::clone(&target.trust)))
    }
}

/// For the pool, whose own settings are fixed.
impl Connect for Settings {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async move {
            let (client, driver) = self.connect_now().await?;
            let driven = tokio::spawn(async move {
                if let Err(error) = driver.await {
                    warn!(error = %describe(&error), "a database connection broke");
                }
            });
            Ok((client, driven))
        })
    }
}

/// Settings of `url`, with Holdfast's session limits.
pub fn settings(url: &DatabaseUrl) -> Settings {
    Settings { limited: true, ..unlimited(url) }
}

/// Settings of `url` as given.
pub fn unlimited(url: &DatabaseUrl) -> Settings {
    Settings { url: url.clone(), limited: false, writable: false, planned: false }
}

/// Connects to a writable server, for batches, sweeps, relays and pruning.
pub fn open(settings: Settings, size: usize) -> Pool {
    open_to_read(settings.writable(), size)
}

/// Connects to any server, for queries.
pub fn open_to_read(settings: Settings, size: usize) -> Pool {
    let settings = Settings { planned: true, ..settings };
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let unused = tokio_postgres::Config::new();
    Pool::builder(Manager::from_connect(unused, settings, manager_config))
        .max_size(size)
        .wait_timeout(Some(CONNECTION_TIMEOUT))
        .create_timeout(Some(CONNECTION_TIMEOUT))
        .recycle_timeout(Some(CONNECTION_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()
        .expect("a runtime is set, which is all that the timeouts need")
}

/// Bounds an exchange. After a timeout its outcome is unknown.
pub async fn bounded<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(EXCHANGE_TIMEOUT, work).await;
    outcome.map_err(|_| StoreError::Timeout(what))?
}

/// A pooled connection, mostly inside a transaction.
///
/// Dropped without [`Session::finish`], it is closed: a transaction may be open, a statement running, or
/// its server read-only by now.
pub struct Session(Option<Object>);

impl Session {
    /// The caller begins a transaction if it needs one.
    pub async fn take(pool: &Pool) -> Result<Self, StoreError> {
        Ok(Self(Some(pool.get().await?)))
    }

    /// The connection.
    pub fn client(&self) -> &ClientWrapper {
        self.0.as_ref().expect("only dropping empties it")
    }

    /// Returns it to the pool, after a commit, a rollback or a successful statement.
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
