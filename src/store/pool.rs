//! Connections to PostgreSQL, with bounds on everything that can hang.

use std::time::{Duration, Instant};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use rustls::ClientConfig;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

pub use super::connect::Driver;
use super::connect::{self, CONNECT_TIMEOUT, Wanted};
use super::error::StoreError;
use super::session::{self, LIMITS, MIGRATION, OPERATOR, PLANNER, Setting};
use super::url::{DatabaseUrl, Target};
use crate::addresses::Recent;

/// Bound on waiting for and recycling a connection.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound on opening one. Longer than [`connect`]'s own, whose error says what is wrong.
const CREATE_TIMEOUT: Duration = CONNECT_TIMEOUT.saturating_add(Duration::from_secs(1));

/// A peer that does not acknowledge for this long is dead.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bound on one exchange outside a batch. Longer than `statement_timeout`, which does not run while a
/// commit waits for a standby.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest name of a connection that PostgreSQL keeps, in bytes.
const NAME_LEN_MAX: usize = 63;

/// Address, account and trusted authorities, read at every connect; what is required of a session.
#[derive(Clone)]
pub struct Settings {
    url: DatabaseUrl,
    session: Vec<Setting>,
    name: String,
    writable: bool,
    /// Clones share it.
    recent: Recent,
}

impl Settings {
    /// Accepts no standby and no former primary.
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// Names connections, for those who look into `pg_stat_activity`: `holdfast` and a purpose.
    pub fn named(mut self, purpose: &str) -> Self {
        self.name = format!("holdfast {purpose}").chars().take(NAME_LEN_MAX).collect();
        self
    }

    /// Connects, within [`CONNECT_TIMEOUT`]. Fails if the session is not set as required.
    pub async fn connect(&self) -> Result<(Client, Driver), StoreError> {
        let target = self.url.current();
        let connected = self.connect_to(&target).await;
        self.url.note(connected.as_ref().is_err_and(StoreError::is_refusal));
        connected
    }

    async fn connect_to(&self, target: &Target) -> Result<(Client, Driver), StoreError> {
        let tls = MakeRustlsConnect::new(ClientConfig::clone(&target.trust));
        let mut config = target.config.clone();
        let given = config.get_options().map(str::to_owned);
        config
            .options(session::options(&self.session, given.as_deref()))
            .application_name(&self.name)
            .tcp_user_timeout(TCP_USER_TIMEOUT)
            .keepalives_idle(TCP_USER_TIMEOUT);
        let expected = session::expected(&self.session, given.as_deref());
        // Where statements are bounded, silence is no work.
        let bounded = expected.iter().any(|(name, _)| *name == "statement_timeout");
        let wanted = Wanted {
            config: &config,
            tls: &tls,
            settings: expected,
            writable: self.writable || target.writable,
            silence_max: bounded.then_some(EXCHANGE_TIMEOUT),
            recent: &self.recent,
        };
        connect::connect(&wanted).await
    }

    /// Connects and drives the connection in the background.
    pub async fn open(&self) -> Result<Client, StoreError> {
        let (client, driver) = self.connect().await?;
        tokio::spawn(drive(driver));
        Ok(client)
    }
}

/// The client only learns that the connection is closed, so the reason is logged. Before: a command that
/// waits for an answer ends once the driver is dropped.
async fn drive(mut driver: Driver) {
    if let Err(error) = (&mut driver).await {
        warn!(error = %StoreError::from(error), "a connection to the database broke");
    }
}

/// Settings of `url`, with the session limits of batches.
pub fn settings(url: &DatabaseUrl) -> Settings {
    of(url, LIMITS)
}

/// Settings of `url`, with the session limits of operators' commands.
pub fn operator_settings(url: &DatabaseUrl) -> Settings {
    of(url, OPERATOR)
}

/// Settings of `url` for migrations, which may take long.
pub fn unlimited(url: &DatabaseUrl) -> Settings {
    of(url, MIGRATION)
}

/// Settings of `url` without any of Holdfast's own: what its account and database give a session.
pub fn bare(url: &DatabaseUrl) -> Settings {
    of(url, &[])
}

fn of(url: &DatabaseUrl, session: &[Setting]) -> Settings {
    Settings {
        url: url.clone(),
        session: session.to_vec(),
        name: "holdfast".to_owned(),
        writable: false,
        recent: Recent::default(),
    }
}

/// Connections that are opened when needed.
pub type Pool = managed::Pool<Manager>;
type Object = managed::Object<Manager>;

/// Opens the connections of a pool.
pub struct Manager(Settings);

impl managed::Manager for Manager {
    type Type = ClientWrapper;
    type Error = StoreError;

    async fn create(&self) -> Result<ClientWrapper, StoreError> {
        let (client, driver) = self.0.connect().await?;
        Ok(ClientWrapper::new(client, tokio::spawn(drive(driver))))
    }

    async fn recycle(&self, client: &mut ClientWrapper, _: &Metrics) -> RecycleResult<StoreError> {
        match client.is_closed() {
            true => Err(RecycleError::message("the connection is closed")),
            false => Ok(()),
        }
    }
}

/// Connects to a writable server, for batches, sweeps, relays and pruning.
pub fn open(settings: Settings, size: usize) -> Pool {
    open_to_read(settings.writable(), size)
}

/// Connects to any server, for queries.
pub fn open_to_read(mut settings: Settings, size: usize) -> Pool {
    settings.session.extend(PLANNER);
    Pool::builder(Manager(settings))
        .max_size(size)
        .wait_timeout(Some(POOL_TIMEOUT))
        .create_timeout(Some(CREATE_TIMEOUT))
        .recycle_timeout(Some(POOL_TIMEOUT))
        .runtime(deadpool::Runtime::Tokio1)
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

/// Adds the time that work takes to `spent`.
pub async fn timed<T>(spent: &mut Duration, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = work.await;
    *spent += began.elapsed();
    done
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

    /// Fails if it is no longer set as it was when it was opened. Rolls back.
    pub async fn check(&self, pool: &Pool) -> Result<(), StoreError> {
        self.client().batch_execute("rollback").await?;
        session::check(self.client(), &pool.manager().0.session, false).await
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
