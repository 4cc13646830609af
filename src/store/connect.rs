//! Opens connections: every server that a URL names is tried, each within its own time.
//!
//! The driver bounds only the TCP handshake. A server that accepts and says nothing held up `connect` for ever,
//! and one bound around all hosts was used up by the first.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::StoreError;
use super::session::{self, Setting};
use super::socket::Socket;
use crate::addresses::{self, RESOLVE_TIMEOUT, Recent};

/// Bound on all attempts together, from the TCP handshake to the session's settings. A worker that connects for
/// longer has lost its partitions anyway (`DEAD_AFTER_SECONDS`).
const ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(6);

/// Bound on one attempt of several: two silent servers leave time for a third.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bound on connecting, names included.
pub const CONNECT_TIMEOUT: Duration = RESOLVE_TIMEOUT.saturating_add(ATTEMPTS_TIMEOUT);

/// Drives a connection and yields its messages.
pub type Driver = tokio_postgres::Connection<Socket, Stream>;
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// PostgreSQL's port, unless the URL names another.
const PORT: u16 = 5432;

/// What to connect as, and what is required of the session.
pub(super) struct Wanted<'a> {
    /// Account, options and hosts.
    pub config: &'a Config,
    pub tls: &'a MakeRustlsConnect,
    pub settings: Vec<Setting>,
    pub writable: bool,
    /// Limit on the server's silence.
    pub silence_max: Option<Duration>,
    pub recent: &'a Recent,
}

/// Where a server listens.
enum Place {
    Tcp { host: String, address: SocketAddr },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, address } if *host == address.ip().to_string() => {
                write!(f, "{address}")
            }
            Place::Tcp { host, address } => write!(f, "{host} ({address})"),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Connects to the first server that answers and is as required. The one that answered last is tried first.
pub(super) async fn connect(wanted: &Wanted<'_>) -> Result<(Client, Driver), StoreError> {
    let (mut places, mut failed) = places(wanted.config).await;
    let recent = wanted.recent.get();
    places.sort_by_key(
        |place| !matches!(place, Place::Tcp { address, .. } if Some(*address) == recent),
    );
    let share = addresses::share(ATTEMPTS_TIMEOUT, places.len());
    let limit = if places.len() > 1 { share.min(ATTEMPT_TIMEOUT) } else { share };
    for place in &places {
        let outcome = timeout(limit, attempt(wanted, place)).await;
        match outcome.unwrap_or_else(|_| Err(StoreError::Silent(limit.as_secs_f64()))) {
            Ok(connected) => {
                if let Place::Tcp { address, .. } = place {
                    wanted.recent.set(Some(*address));
                }
                return Ok(connected);
            }
            Err(error) => failed.push((place.to_string(), error)),
        }
    }
    wanted.recent.set(None);
    Err(together(failed))
}

/// One error for all: the only one, or else each with its server.
fn together(mut failed: Vec<(String, StoreError)>) -> StoreError {
    if failed.len() < 2 {
        let only = failed.pop().map(|(_, error)| error);
        return only.unwrap_or_else(|| StoreError::Unexpected("the URL names no host".to_owned()));
    }
    let tried: Vec<String> =
        failed.iter().map(|(place, error)| format!("{place}: {error}")).collect();
    let refused = failed.iter().all(|(_, error)| error.is_refusal());
    // What a server says about the account tells more than that another is away.
    let said = failed.iter().position(|(_, error)| error.sql_state().is_some());
    let (_, source) = failed.swap_remove(said.unwrap_or_default());
    StoreError::NoServer { tried: tried.join("; "), refused, source: Box::new(source) }
}

/// Where the URL's servers listen, and the names without an address.
async fn places(config: &Config) -> (Vec<Place>, Vec<(String, StoreError)>) {
    let (hosts, given, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let found = (0..hosts.len().max(given.len())).map(async |index| {
        // As in libpq: no port, one for all, or one each.
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
        let tcp = |host: &str, address| Place::Tcp { host: host.to_owned(), address };
        match (hosts.get(index), given.get(index)) {
            (Some(Host::Unix(directory)), _) => {
                Ok(vec![Place::Unix(directory.join(format!(".s.PGSQL.{port}")))])
            }
            (Some(Host::Tcp(host)), Some(ip)) => Ok(vec![tcp(host, (*ip, port).into())]),
            (None, Some(ip)) => Ok(vec![tcp(&ip.to_string(), (*ip, port).into())]),
            (Some(Host::Tcp(host)), None) => match addresses::resolve(host, port).await {
                Ok(found) => Ok(found.into_iter().map(|address| tcp(host, address)).collect()),
                Err(error) => Err((host.clone(), StoreError::Unreachable(error))),
            },
            (None, None) => Ok(Vec::new()),
        }
    });
    let (mut places, mut failed) = (Vec::new(), Vec::new());
    for outcome in join_all(found).await {
        match outcome {
            Ok(found) => places.extend(found),
            Err(error) => failed.push(error),
        }
    }
    (places, failed)
}

/// Socket, TLS, login and a look at the session.
async fn attempt(wanted: &Wanted<'_>, place: &Place) -> Result<(Client, Driver), StoreError> {
    let (socket, host) = match place {
        Place::Tcp { host, address } => (Socket::tcp(*address, wanted.config).await, host.as_str()),
        Place::Unix(path) => (Socket::unix(path).await, ""),
    };
    let mut socket = socket.map_err(StoreError::Unreachable)?;
    if let Some(limit) = wanted.silence_max {
        socket = socket.ending_when_silent(limit);
    }
    let mut tls = wanted.tls.clone();
    let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, host)
        .map_err(|error| StoreError::Unreachable(std::io::Error::other(error)))?;
    let connected = wanted.config.connect_raw(socket, tls).await;
    let (client, mut driver) = connected.map_err(refused_options)?;
    let checked = tokio::select! {
        biased;
        checked = session::check(&client, &wanted.settings, wanted.writable) => checked,
        ended = &mut driver => Err(match ended {
            Ok(()) => StoreError::Unreachable(std::io::ErrorKind::ConnectionAborted.into()),
            Err(error) => error.into(),
        }),
    };
    checked.map(|()| (client, driver))
}

/// PgBouncer refuses the session's settings, unless it is told to drop them.
fn refused_options(error: tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        Some(db) if db.message().contains("startup parameter") => {
            StoreError::Session(format!("{:?}", db.message()))
        }
        _ => error.into(),
    }
}
