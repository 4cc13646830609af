//! Broker addresses and connections.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, ConnectionProperties, ConnectionStatus};
use rustls::ClientConfig;
use tokio::time::{sleep, timeout};
use url::Url;

use super::sanitize::stream::Plain;
use super::sanitize::{Sanitized, SanitizingReactor};
use super::{BrokerError, OPERATION_TIMEOUT, bounded, bounded_by};
use crate::addresses::{self, Recent};
use crate::message::envelope::BODY_LEN_MAX;
use crate::tls;

/// Default, in seconds. A half-open peer is detected after two heartbeats; the broker's suggestion
/// of 60 would delay a takeover.
const HEARTBEAT_SECONDS: u16 = 10;

/// Largest frame, in bytes, of a connection that only publishes; longer bodies are split. lapin
/// keeps 64 frames per connection: 8 MiB at the default 128 KiB. Not for consumers: the broker
/// closes a connection whose frames cannot hold a message's properties. See
/// `docs/decisions/0013-own-reconnect-and-two-connections.md`.
const PUBLISHING_FRAME_MAX: u32 = 32 << 10;

/// How late waits end that lapin does not end itself when a connection breaks.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(250);

/// A broker address with account and vhost. `Debug` and `Display` hide the password.
#[derive(Clone)]
pub struct Endpoint {
    uri: AMQPUri,
    shown: String,
    tls: Option<Arc<ClientConfig>>,
    /// Clones share it.
    recent: Recent,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// `amqps` checks certificate and host name. `cacertfile` names a PEM file of authorities that
    /// replace the system's.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut text = text.to_owned();
        let authorities = tls::take_option(&mut text, "cacertfile");
        // lapin's message can quote the URL and its password.
        let mut uri = AMQPUri::from_str(&text)
            .map_err(|_| "must look like amqp://account:password@host:5672/vhost".to_owned())?;
        // lapin would silently take these for localhost and for the vhost "".
        if Url::parse(&text).is_ok_and(|url| matches!(url.host(), Some(url::Host::Ipv6(_)))) {
            return Err("IPv6 literals are not supported; use a host name".to_owned());
        }
        if uri.vhost.is_empty() {
            return Err("name the vhost; the default one is /%2f".to_owned());
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let tls = match (&uri.scheme, authorities) {
            (AMQPScheme::AMQPS, authorities) => {
                let trusted = tls::client_config(authorities.as_deref());
                Some(trusted.map_err(|error| error.to_string())?)
            }
            (_, Some(_)) => return Err("cacertfile needs the scheme amqps".to_owned()),
            (_, None) => None,
        };
        let shown = format!(
            "{}://{}@{}:{}/{}",
            uri.scheme,
            uri.authority.userinfo.username,
            uri.authority.host,
            uri.authority.port,
            uri.vhost
        );
        Ok(Self { uri, shown, tls, recent: Recent::default() })
    }
}

impl Endpoint {
    /// The broker account, which the broker checks as `user_id`.
    pub fn account(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.uri.authority.userinfo.password
    }

    /// The vhost.
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// The AMQP URL of another account on this vhost.
    pub fn url_for(&self, account: &str, password: &str) -> String {
        let mut url = Url::parse(&format!("{}://host", self.uri.scheme)).expect("a constant form");
        // The setters percent-encode; host and port come from a parsed URL.
        url.set_host(Some(&self.uri.authority.host)).ok();
        url.set_port(Some(self.uri.authority.port)).ok();
        url.set_username(account).ok();
        url.set_password(Some(password)).ok();
        url.path_segments_mut().expect("amqp URLs have a path").push(&self.uri.vhost);
        url.to_string()
    }

    /// Connects; `name` appears in the broker's list of connections.
    pub async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        self.connect_with(self.uri.clone(), name, None).await
    }

    /// Connects, to publish only.
    pub async fn connect_to_publish(&self, name: &str) -> Result<Connection, BrokerError> {
        let mut uri = self.uri.clone();
        uri.query.frame_max.get_or_insert(PUBLISHING_FRAME_MAX);
        self.connect_with(uri, name, None).await
    }

    /// Connects, to consume commands: cuts bodies one byte beyond the longest valid one, and drops
    /// unread headers.
    pub async fn connect_for_commands(&self, name: &str) -> Result<Connection, BrokerError> {
        self.connect_with(self.uri.clone(), name, Some(BODY_LEN_MAX + 1)).await
    }

    async fn connect_with(
        &self,
        uri: AMQPUri,
        name: &str,
        body_len_max: Option<usize>,
    ) -> Result<Connection, BrokerError> {
        let (host, port) = (&uri.authority.host, uri.authority.port);
        let operation = format!("connecting to {}", self.shown);
        let addresses =
            addresses::resolve(host, port).await.map_err(|error| BrokerError::Amqp {
                operation: format!("{operation}: looking up {host}"),
                source: error.into(),
            })?;
        self.connect_to_any(addresses, uri, name, body_len_max).await
    }

    /// Connects to one of these addresses instead of the host's.
    pub async fn connect_at(
        &self,
        addresses: Vec<SocketAddr>,
        name: &str,
    ) -> Result<Connection, BrokerError> {
        self.connect_to_any(addresses, self.uri.clone(), name, None).await
    }

    /// Tries each address within its share of [`OPERATION_TIMEOUT`], handshake included; first the one that
    /// answered last.
    async fn connect_to_any(
        &self,
        mut addresses: Vec<SocketAddr>,
        uri: AMQPUri,
        name: &str,
        body_len_max: Option<usize>,
    ) -> Result<Connection, BrokerError> {
        let recent = self.recent.get();
        addresses.sort_by_key(|address| Some(*address) != recent);
        let limit = addresses::share(OPERATION_TIMEOUT, addresses.len());
        let mut failed = Err(BrokerError::Timeout(format!("connecting to {}", self.shown)));
        for address in addresses {
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let target = Target { address, limit, tls: self.tls.clone(), body_len_max };
            let connecting = connect(uri.clone(), target, properties);
            let operation = format!("connecting to {} at {address}", self.shown);
            match bounded_by(limit, operation, connecting).await {
                Ok(inner) => {
                    self.recent.set(Some(address));
                    return Ok(Connection { inner });
                }
                // The broker answered, and refuses this account on every node.
                Err(error) if error.code().is_some() => return Err(error),
                Err(error) => failed = Err(error),
            }
        }
        self.recent.set(None);
        failed
    }
}

/// A connection on which every wait ends.
///
/// lapin 4.12.3 has no timeouts, and never answers requests made while the connection breaks.
pub struct Connection {
    inner: lapin::Connection,
}

impl Connection {
    /// Opens a channel.
    pub async fn create_channel(&self) -> Result<Channel, BrokerError> {
        self.unless_broken("opening a channel", self.inner.create_channel()).await
    }

    /// Closes the connection, after which it is unusable, even on error. The broker requeues
    /// unacknowledged messages.
    pub async fn close(&self) -> Result<(), BrokerError> {
        let closing = self.inner.close(200, "done".into());
        self.unless_broken("closing the connection", closing).await
    }

    /// Whether the connection is usable.
    pub fn is_alive(&self) -> bool {
        self.liveness().is_alive()
    }

    pub(super) fn liveness(&self) -> Liveness {
        Liveness(self.inner.status().clone())
    }

    /// lapin queues operations for an internal task, which stops when the connection breaks. What
    /// is queued behind that gets no answer: a `close` waited forever.
    async fn unless_broken<T>(
        &self,
        operation: &str,
        work: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, BrokerError> {
        let liveness = self.liveness();
        tokio::select! {
            biased;
            done = bounded(operation, work) => done,
            () = liveness.broken() => Err(BrokerError::ConnectionLost(operation.to_owned())),
        }
    }
}

/// lapin breaks a connection whose peer is silent for two heartbeats.
#[derive(Clone)]
pub(super) struct Liveness(ConnectionStatus);

impl Liveness {
    fn is_alive(&self) -> bool {
        self.0.connected()
    }

    /// Returns once the connection is closed, closing or broken.
    pub async fn ended(&self) {
        while self.is_alive() {
            sleep(LIVENESS_INTERVAL).await;
        }
    }

    async fn broken(&self) {
        while !self.0.errored() {
            sleep(LIVENESS_INTERVAL).await;
        }
    }
}

/// How one address is dialled.
struct Target {
    address: SocketAddr,
    limit: Duration,
    tls: Option<Arc<ClientConfig>>,
    body_len_max: Option<usize>,
}

async fn connect(
    uri: AMQPUri,
    target: Target,
    properties: ConnectionProperties,
) -> lapin::Result<lapin::Connection> {
    let tokio = Runtime::tokio_current();
    let reactor = SanitizingReactor(tokio.clone());
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), reactor));
    let silence_max = silence_max(&uri);
    let Target { address, limit, tls, body_len_max } = target;
    let open = async move |uri: AMQPUri, _| {
        // lapin's thread keeps dialling after its caller has timed out.
        let dialled = timeout(limit, dial(&tokio, address, uri, tls.clone())).await;
        let stream = dialled.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let sanitized = match body_len_max {
            Some(len_max) => Sanitized::cutting(stream, len_max),
            None => Sanitized::new(stream),
        };
        let sanitized = match silence_max {
            Some(limit) => sanitized.ending_when_silent(limit),
            None => sanitized,
        };
        Ok(AsyncTcpStream::Plain(sanitized))
    };
    lapin::Connection::connector(uri, runtime, open, properties).await
}

async fn dial(
    tokio: &Runtime<Tokio>,
    address: SocketAddr,
    uri: AMQPUri,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<Plain> {
    let host = uri.authority.host;
    let stream = AsyncTcpStream::connect(tokio, address).await?;
    match tls {
        Some(trust) => stream.into_rustls(&RustlsConnector::from(trust), &host).await,
        None => Ok(stream),
    }
}

/// Limit on silence. The broker sends two heartbeats per interval. lapin gives up a connection in
/// use after two intervals; this longer limit also covers handshake and closing. `None` if the URL
/// leaves the interval to the broker.
fn silence_max(uri: &AMQPUri) -> Option<Duration> {
    let heartbeat = uri.query.heartbeat.filter(|seconds| *seconds > 0)?;
    Some(OPERATION_TIMEOUT.max(Duration::from_secs(heartbeat.into()) * 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misleading_urls_are_refused() {
        for bad in ["", "http://h/x", "amqp://[2001:db8::1]/x", "amqp://a:b@h/"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_repeats_nothing_of_the_url() {
        for bad in [
            "s3cret",
            "s3cret://a:b@h/x",
            "amqp:s3cret",
            "amqp://me:s3cret@h:99999/x",
            "amqp://me:s3cret@h h/x",
            "amqp://me:s3cret@h/x?heartbeat=s3cret",
            "amqp://me:s3cret@h/x?auth_mechanism=s3cret",
            "amqp://me:s3cret@[::1]/x",
            "amqp://me:s3cret@h/",
        ] {
            let error = bad.parse::<Endpoint>().unwrap_err();
            assert!(!error.contains("s3cret"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let endpoint: Endpoint = "amqp://me:s3cret@h:1234/%2f".parse().unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "amqp://me@h:1234// amqp://me@h:1234//");
        assert_eq!(endpoint.url_for("t-1", "p/w"), "amqp://t-1:p%2Fw@h:1234/%2F");
    }
}
