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

/// Bounds for operators' commands, which may count millions of rows. They wait no longer for a lock than
/// workers do: a change that waits makes decisions queue behind it. The server notices within two seconds
/// that the program was interrupted, and rolls back.
const OPERATOR_OPTIONS: &str = "-c statement_timeout=1h -c lock_timeout=5s \
    -c idle_in_transaction_session_timeout=1min -c client_connection_check_interval=2s -c timezone=UTC \
    -c default_transaction_isolation=read\\ committed";

/// Each statement is planned once per connection, for any array, and statistics of a young table cannot
/// cause a sequential scan. Otherwise planning took as long as executing. See
/// `docs/decisions/0022-statements-are-planned-once.md`.
const PLANNER_OPTIONS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
    -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off";

/// Address, account and trusted authorities.
#[derive(Clone)]
pub struct Settings {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

/// Drives a connection and yields its messages.
pub type Driver = tokio_postgres::Connection<Socket, Stream>;
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

impl Settings {
    /// Accepts no standby and no former primary.
    pub fn writable(mut self) -> Self {
        self.config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        self
    }

    /// Connects.
    pub async fn connect(&self) -> Result<(Client, Driver), StoreError> {
        Ok(self.config.connect(self.tls.clone()).await?)
    }
}

/// Settings of `url`, with the session limits of batches.
pub fn settings(url: &DatabaseUrl) -> Settings {
    limited(url, SESSION_OPTIONS)
}

/// Settings of `url`, with the session limits of operators' commands.
pub fn operator_settings(url: &DatabaseUrl) -> Settings {
    limited(url, OPERATOR_OPTIONS)
}

fn limited(url: &DatabaseUrl, limits: &str) -> Settings {
    let mut settings = unlimited(url);
    // Options in the URL come last, and win.
    let options = match settings.config.get_options() {
        Some(given) => format!("{limits} {given}"),
        None => limits.to_owned(),
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

/// Settings of `url` as given.
pub fn unlimited(url: &DatabaseUrl) -> Settings {
    let tls = MakeRustlsConnect::new(ClientConfig::clone(&url.trust));
    Settings { config: url.config.clone(), tls }
}

/// Connects to a writable server, for batches, sweeps, relays and pruning.
pub fn open(settings: Settings, size: usize) -> Pool {
    open_to_read(settings.writable(), size)
}

/// Connects to any server, for queries.
pub fn open_to_read(mut settings: Settings, size: usize) -> Pool {
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
