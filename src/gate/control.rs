//! Requests to the streaming server's own interface.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client as Http, Method};
use rustls::ClientConfig;
use url::Url;

use super::adapters::{Adapter, Call, Listing, Reply, Unreadable};
use super::settings::ControlServer;
use crate::domain::admission::live::Client;

/// Bound on one request: the list is asked for every second.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Largest reply, in bytes: some ten thousand clients.
const REPLY_LEN_MAX: usize = 16 * 1024 * 1024;

/// Rounds of asking for one list: the mounts or pages, and what is on each.
const ROUNDS_MAX: usize = 20;

/// Why the server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not answer.
    #[error("the streaming server does not answer: {0}")]
    Away(String),
    /// It answers otherwise than documented.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Its answer has no end.
    #[error("the streaming server's list is too long: over {0}")]
    TooLong(String),
    /// It does not do what it is told.
    #[error("the streaming server refused a request with status {0}")]
    Refused(u16),
}

/// The streaming server.
pub struct Control {
    adapter: Adapter,
    base: Url,
    http: Http,
}

impl Control {
    /// Connects when it is asked.
    pub fn new(adapter: Adapter, server: &ControlServer) -> Self {
        let http = Http::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&server.tls))
            .redirect(Policy::none())
            .timeout(CALL_TIMEOUT)
            // It is next to the gate.
            .no_proxy()
            .build()
            .expect("nothing is set that a build could refuse");
        Self { adapter, base: server.url.clone(), http }
    }

    /// Who is connected.
    pub async fn list(&self) -> Result<Vec<Client>, ControlError> {
        let mut replies = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let calls = match self.adapter.list(&replies)? {
                Listing::Done(clients) => return Ok(clients),
                Listing::Ask(calls) => calls,
            };
            for call in calls {
                replies.push(self.call(&call).await?);
            }
        }
        Err(ControlError::TooLong(format!("{ROUNDS_MAX} rounds")))
    }

    /// Disconnects a client. Success means that the server was told; the list shows whether it is gone.
    pub async fn kick(&self, client: &Client) -> Result<(), ControlError> {
        let reply = self.call(&self.adapter.kick(client)).await?;
        match reply.status {
            // It has left already.
            200..300 | 400 | 404 => Ok(()),
            status => Err(ControlError::Refused(status)),
        }
    }

    /// Whether the server has forgotten all of these clients.
    pub async fn are_gone(&self, clients: &[&Client]) -> Result<bool, ControlError> {
        let list = self.list().await?;
        if clients.iter().any(|client| list.contains(client)) {
            return Ok(false);
        }
        for call in clients.iter().filter_map(|client| self.adapter.remnant(client)) {
            if !self.adapter.has_forgotten(&self.call(&call).await?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn call(&self, call: &Call) -> Result<Reply, ControlError> {
        let away = |error: reqwest::Error| ControlError::Away(root(&error.without_url()));
        let url = format!("{}{}", self.base.as_str().trim_end_matches('/'), call.path);
        let method = Method::from_bytes(call.method.as_bytes()).expect("a method of an adapter");
        let mut response = self.http.request(method, url).send().await.map_err(away)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > REPLY_LEN_MAX {
                return Err(ControlError::TooLong(format!("{REPLY_LEN_MAX} bytes")));
            }
        }
        Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// What is behind an error of the library, which says only that it failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
