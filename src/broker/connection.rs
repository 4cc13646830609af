//! Broker addresses and connections.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use lapin::tcp::{AsyncTcpStream, RustlsConnector};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, ConnectionProperties, ConnectionStatus};
use rustls::ClientConfig;
use tokio::time::{sleep, timeout};

use super::sanitize::stream::Plain;
use super::sanitize::{Sanitized, SanitizingReactor};
use super::{BrokerError, OPERATION_TIMEOUT, bounded, bounded_by};
use crate::addresses::{self, Recent};
use crate::live::{self, Live};
use crate::message::envelope::BODY_LEN_MAX;
use crate::parts::{Account, Form, Parts, choice, number};
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

const FORM: Form = Form {
    expected: "must look like amqp://account:password@host:5672/vhost",
    schemes: &["amqp", "amqps"],
    options: &[
        "cacertfile",
        "heartbeat",
        "frame_max",
        "channel_max",
        "connection_timeout",
        "auth_mechanism",
    ],
    several_hosts: false,
};

const DEFAULT_VHOST: &str = "/";

/// A broker address with account and vhost, perhaps from a file, which is then read at every connect.
/// `Debug` and `Display` hide the password.
#[derive(Clone)]
pub struct Endpoint {
    live: Live<Target>,
    /// Clones share it.
    recent: Recent,
}

struct Target {
    uri: AMQPUri,
    parts: Parts,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// None of what is shown can be a part of a password: [`crate::parts`] refuses a URL in which the password's
/// end is in doubt.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.live.first().uri;
        let AMQPAuthority { userinfo, host, port } = authority;
        write!(f, "{scheme}://{}@{host}:{port}/{vhost}", userinfo.username)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Parts::read(text, &FORM)?;
        let uri = uri(&parts)?;
        let tls = match (&uri.scheme, parts.option("cacertfile")) {
            (AMQPScheme::AMQPS, authorities) => {
                let trusted = tls::client_config(authorities);
                Some(trusted.map_err(|error| error.to_string())?)
            }
            (_, Some(_)) => return Err("cacertfile needs the scheme amqps".to_owned()),
            (_, None) => None,
        };
        Ok(Self { uri, parts, tls })
    }
}

impl live::Target for Target {
    const NAME: &'static str = "the broker's URL";

    fn may_replace(&self, first: &Self) -> Result<(), &'static str> {
        let identity = |target: &Self| {
            (target.uri.vhost.clone(), target.uri.authority.userinfo.username.clone())
        };
        match identity(self) == identity(first) {
            true => Ok(()),
            // Messages are signed with the account.
            false => Err("names another account or vhost, which needs a restart"),
        }
    }
}

/// What lapin connects to.
fn uri(parts: &Parts) -> Result<AMQPUri, String> {
    let Some(Account { name, password: Some(password) }) = &parts.account else {
        return Err("needs an account and its password, as account:password@host".to_owned());
    };
    let [host] = parts.hosts.as_slice() else { return Err("must name one host".to_owned()) };
    if host.name.contains(':') {
        return Err("IPv6 literals are not supported; use a host name".to_owned());
    }
    let vhost = match parts.path.as_slice() {
        [] => DEFAULT_VHOST,
        [vhost] if !vhost.is_empty() => vhost,
        [_] => return Err("name the vhost; the default one is /%2f".to_owned()),
        _ => return Err("has a slash in the vhost's name; percent-encode it as %2F".to_owned()),
    };
    let mechanisms =
        ["plain", "amqplain", "anonymous", "external", "rabbit-cr-demo"].map(|name| (name, name));
    let mechanism = choice(parts, "auth_mechanism", &mechanisms)?;
    let scheme = if parts.scheme == "amqps" { AMQPScheme::AMQPS } else { AMQPScheme::AMQP };
    let port = host.port.unwrap_or_else(|| scheme.default_port());
    let userinfo = AMQPUserInfo { username: name.clone(), password: password.clone() };
    Ok(AMQPUri {
        scheme,
        authority: AMQPAuthority { userinfo, host: host.name.clone(), port },
        vhost: vhost.to_owned(),
        query: AMQPQueryString {
            frame_max: number(parts, "frame_max")?,
            channel_max: number(parts, "channel_max")?,
            heartbeat: number(parts, "heartbeat")?.or(Some(HEARTBEAT_SECONDS)),
            connection_timeout: number(parts, "connection_timeout")?,
            auth_mechanism: mechanism.map(str::parse).transpose()?,
        },
    })
}

impl FromStr for Endpoint {
    type Err = String;

    /// `amqps` checks certificate and host name. `cacertfile` names a PEM file of authorities that
    /// replace the system's. Errors repeat nothing of the text.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { live: text.parse()?, recent: Recent::default() })
    }
}

impl Endpoint {
    /// The same address, which follows a file: its password, host and options may change.
    pub fn in_file(self, path: &Path) -> Self {
        Self { live: self.live.in_file(path), ..self }
    }

    /// The broker account, which the broker checks as `user_id`.
    pub fn account(&self) -> &str {
        &self.live.first().uri.authority.userinfo.username
    }

    /// Its password when the process started.
    pub fn password(&self) -> &str {
        &self.live.first().uri.authority.userinfo.password
    }

    /// The vhost.
    pub fn vhost(&self) -> &str {
        &self.live.first().uri.vhost
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.live.first().tls.is_some()
    }

    /// The host's name or address.
    pub(crate) fn host(&self) -> &str {
        &self.live.first().uri.authority.host
    }

    /// The AMQP URL of another account on this vhost. Options are left out: they are this machine's.
    pub fn url_for(&self, account: &str, password: &str) -> String {
        let target = self.live.first();
        let mut parts = target.parts.clone().with_account(account, password);
        parts.options.clear();
        parts.path = vec![target.uri.vhost.clone()];
        for host in &mut parts.hosts {
            host.port = Some(target.uri.authority.port);
        }
        parts.print()
    }

    /// How long the broker has been refusing the account, or could not prove who it is, once that is longer
    /// than a remedy may take.
    pub fn hopeless(&self) -> Option<Duration> {
        self.live.hopeless()
    }

    /// Connects; `name` appears in the broker's list of connections.
    pub async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        self.connect_with(name, None, None).await
    }

    /// Connects, to publish only.
    pub async fn connect_to_publish(&self, name: &str) -> Result<Connection, BrokerError> {
        self.connect_with(name, Some(PUBLISHING_FRAME_MAX), None).await
    }

    /// Connects, to consume commands: cuts bodies one byte beyond the longest valid one, and drops
    /// unread headers.
    pub async fn connect_for_commands(&self, name: &str) -> Result<Connection, BrokerError> {
        self.connect_with(name, None, Some(BODY_LEN_MAX + 1)).await
    }

    async fn connect_with(
        &self,
        name: &str,
        frame_max: Option<u32>,
        body_len_max: Option<usize>,
    ) -> Result<Connection, BrokerError> {
        let target = self.live.current();
        let (host, port) = (&target.uri.authority.host, target.uri.authority.port);
        let addresses = addresses::resolve(host, port).await.map_err(|error| {
            self.live.note(false);
            BrokerError::Amqp {
                operation: format!("connecting to {self}: looking up {host}"),
                source: error.into(),
            }
        })?;
        let mut uri = target.uri.clone();
        uri.query.frame_max = uri.query.frame_max.or(frame_max);
        self.connect_to_any(addresses, uri, target.tls.clone(), name, body_len_max).await
    }

    /// Connects to one of these addresses instead of the host's.
    pub async fn connect_at(
        &self,
        addresses: Vec<SocketAddr>,
        name: &str,
    ) -> Result<Connection, BrokerError> {
        let target = self.live.current();
        self.connect_to_any(addresses, target.uri.clone(), target.tls.clone(), name, None).await
    }

    /// Tries each address within its share of [`OPERATION_TIMEOUT`], handshake included; first the one that
    /// answered last.
    async fn connect_to_any(
        &self,
        mut addresses: Vec<SocketAddr>,
        uri: AMQPUri,
        tls: Option<Arc<ClientConfig>>,
        name: &str,
        body_len_max: Option<usize>,
    ) -> Result<Connection, BrokerError> {
        let recent = self.recent.get();
        addresses.sort_by_key(|address| Some(*address) != recent);
        let limit = addresses::share(OPERATION_TIMEOUT, addresses.len());
        let mut failed = BrokerError::Timeout(format!("connecting to {self}"));
        for address in addresses {
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let peer = Peer { address, limit, tls: tls.clone(), body_len_max };
            let connecting = connect(uri.clone(), peer, properties);
            let operation = format!("connecting to {self} at {address}");
            match bounded_by(limit, operation, connecting).await {
                Ok(inner) => {
                    self.recent.set(Some(address));
                    self.live.note(false);
                    return Ok(Connection { inner });
                }
                Err(error) => failed = error,
            }
            // The broker answered, and refuses this account on every node.
            if failed.code().is_some() {
                break;
            }
        }
        if failed.code().is_none() {
            self.recent.set(None);
        }
        self.live.note(failed.refuses_connecting());
        Err(failed)
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

    /// Whether the broker takes no messages for now, as during an alarm.
    pub fn is_blocked(&self) -> bool {
        self.inner.status().blocked()
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
struct Peer {
    address: SocketAddr,
    limit: Duration,
    tls: Option<Arc<ClientConfig>>,
    body_len_max: Option<usize>,
}

async fn connect(
    uri: AMQPUri,
    peer: Peer,
    properties: ConnectionProperties,
) -> lapin::Result<lapin::Connection> {
    let tokio = Runtime::tokio_current();
    let reactor = SanitizingReactor(tokio.clone());
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), reactor));
    let silence_max = silence_max(&uri);
    let Peer { address, limit, tls, body_len_max } = peer;
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

    /// A terminal does not have this machine's files.
    #[test]
    fn anothers_url_has_no_options() {
        let endpoint: Endpoint = "amqp://me:p@h/x?heartbeat=5&frame_max=9000".parse().unwrap();
        assert_eq!(endpoint.url_for("t-1", "q"), "amqp://t-1:q@h:5672/x");
    }
}
