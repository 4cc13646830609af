//! Settings of a gate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use url::Url;

use super::adapters::Adapter;
use crate::domain::id::ServerId;
use crate::store::url::DatabaseUrl;
use crate::tls;

/// A streaming server's own interface. It is a secret, for its account is in it.
#[derive(Clone)]
pub struct ControlServer {
    pub(super) url: Url,
    pub(super) tls: Arc<ClientConfig>,
}

impl FromStr for ControlServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|error| format!("is no URL: {error}"))?;
        let tls = match url.scheme() {
            "https" if url.has_host() => tls::client_config(None),
            "http" if url.has_host() => tls::no_tls(),
            _ => {
                return Err(
                    "expected http://host:port, with an account if the server asks for one"
                        .to_owned(),
                );
            }
        };
        let tls =
            tls.map_err(|error| format!("the system's authorities cannot be read: {error}"))?;
        Ok(Self { url, tls })
    }
}

/// What a gate guards, and how.
#[derive(Clone)]
pub struct Settings {
    /// PostgreSQL, with a gate's account.
    pub database: DatabaseUrl,
    /// The server whose reservations are admitted.
    pub server: ServerId,
    /// What kind of streaming server it is.
    pub adapter: Adapter,
    /// The streaming server's own interface, with its account.
    pub control: ControlServer,
    /// Where hooks are answered.
    pub listen: SocketAddr,
    /// The first part of a hook's path, if hooks come over a network.
    pub hook_token: Option<String>,
    /// Where `/live`, `/ready` and `/metrics` are answered, if at all.
    pub http_listen: Option<SocketAddr>,
    /// This gate's name in records.
    pub name: String,
    /// How old a plan may be to admit from.
    pub stale_max: Duration,
    /// Where the plan is kept for a restart.
    pub plan_file: Option<PathBuf>,
}
