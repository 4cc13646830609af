//! RabbitMQ's management API: the few calls that create accounts and compare bindings and policies.
//!
//! `rabbitmq_http_client` would replace the program's allocator and double a busy worker's memory.
//! See `docs/decisions/0018-own-management-client.md`.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::live::{self, Live};
use crate::parts::{Account, Form, Parts};
use crate::tls;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Shared by all addresses of the host, so that an unreachable one leaves time for the others.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Characters shown of the API's reason.
const REASON_MAX: usize = 200;

const FORM: Form = Form {
    expected: "must look like http://user:password@host:15672",
    schemes: &["http", "https"],
    options: &["cacertfile"],
    several_hosts: false,
};

/// The API's address, perhaps with an account and from a file, which is then read before it is used. No
/// `Debug`: it may hold a password.
pub struct Address(Live<Target>);

struct Target {
    url: Url,
    account: Option<(String, String)>,
    tls: Arc<ClientConfig>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = Parts::read(text, &FORM)?;
        let tls = match (parts.scheme, parts.option("cacertfile")) {
            ("https", authorities) => tls::client_config(authorities),
            (_, Some(_)) => return Err("cacertfile needs the scheme https".to_owned()),
            (_, None) => tls::no_tls(),
        };
        let account = match &parts.account {
            None => None,
            Some(Account { name, password: Some(password) }) => {
                Some((name.clone(), password.clone()))
            }
            Some(_) => return Err("has an account without a password".to_owned()),
        };
        // What is left has no secret and was read already.
        let place = Parts { account: None, options: Vec::new(), path: Vec::new(), ..parts.clone() };
        let mut url = Url::parse(&place.print()).map_err(|_| FORM.expected)?;
        if parts.path.iter().any(|part| matches!(part.as_str(), "." | "..")) {
            return Err("has a path with . or .. in it".to_owned());
        }
        url.path_segments_mut().expect("http URLs have a path").pop_if_empty().extend(&parts.path);
        Ok(Self { url, account, tls: tls.map_err(|error| error.to_string())? })
    }
}

impl live::Target for Target {
    const NAME: &'static str = "the management API's URL";

    fn may_replace(&self, _: &Self) -> Result<(), &'static str> {
        Ok(())
    }
}

impl FromStr for Address {
    type Err = String;

    /// `https` verifies certificate and host name. `cacertfile` names a PEM file of authorities
    /// that replace the system's. Errors never quote the address.
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl Address {
    /// The same address, which follows a file.
    pub fn in_file(self, path: &Path) -> Self {
        Self(self.0.in_file(path))
    }
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagementError {
    /// The API is unreachable, or its response unreadable.
    #[error("the management API at {address} cannot be reached")]
    Away {
        /// Host and port.
        address: String,
        /// The cause, without the URL.
        source: reqwest::Error,
    },
    /// The API returned an error.
    #[error("the management API answers {status}{reason}")]
    Refused {
        /// The response's status.
        status: StatusCode,
        /// A colon and the API's reason, or empty.
        reason: String,
    },
}

impl ManagementError {
    fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Away { .. } => None,
        }
    }

    /// The account lacks a tag, or a permission on the vhost.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) name: String,
    /// Before RabbitMQ 3.9 a comma-separated text.
    tags: Value,
}

impl User {
    /// Its tags, with commas between; empty if there are none.
    pub(super) fn tags(&self) -> String {
        match &self.tags {
            Value::Array(tags) => {
                tags.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            Value::String(tags) => tags.clone(),
            other => other.to_string(),
        }
    }
}

pub(crate) struct Management {
    client: Client,
    url: Url,
    account: (String, String),
}

impl Management {
    /// Uses `default_account` (name, password) unless the address has one.
    pub(super) fn new(
        address: &Address,
        default_account: (&str, &str),
    ) -> Result<Self, ManagementError> {
        let address = address.0.current();
        let client = Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&address.tls))
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| away(&address.url, error))?;
        let (name, password) = default_account;
        let account =
            address.account.clone().unwrap_or_else(|| (name.to_owned(), password.to_owned()));
        Ok(Self { client, url: address.url.clone(), account })
    }

    pub(super) async fn users(&self) -> Result<Vec<User>, ManagementError> {
        self.read(&["users"]).await
    }

    /// One value per vhost.
    pub(super) async fn permissions_of(
        &self,
        account: &str,
    ) -> Result<Vec<Value>, ManagementError> {
        self.read(&["users", account, "permissions"]).await
    }

    pub(super) async fn put(&self, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        self.send(Method::PUT, path, &[], Some(body)).await.map(drop)
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        self.send(Method::POST, path, &[], Some(body)).await.map(drop)
    }

    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), ManagementError> {
        self.send(Method::DELETE, path, &[], None).await.map(drop)
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &[&str],
    ) -> Result<T, ManagementError> {
        self.read_with(path, &[]).await
    }

    /// `query` has names and values.
    pub(super) async fn read_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ManagementError> {
        let response = self.send(Method::GET, path, query, None).await?;
        response.json().await.map_err(|error| away(&self.url, error))
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, ManagementError> {
        let mut url = self.url.clone();
        let mut segments = url.path_segments_mut().expect("http URLs have a path");
        segments.pop_if_empty().push("api").extend(path);
        drop(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let (name, password) = &self.account;
        let mut request = self.client.request(method, url).basic_auth(name, Some(password));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| away(&self.url, error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }
}

/// Names host and port only: the error's own URL may hold a password.
fn away(url: &Url, error: reqwest::Error) -> ManagementError {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    ManagementError::Away { address: format!("{host}{port}"), source: error.without_url() }
}

async fn refused(response: Response) -> ManagementError {
    let status = response.status();
    let body: Value = response.json().await.unwrap_or_default();
    let reason = match body["reason"].as_str() {
        Some(reason) => format!(": {}", reason.chars().take(REASON_MAX).collect::<String>()),
        None => String::new(),
    };
    ManagementError::Refused { status, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_and_never_repeated() {
        let address: Address = "https://me:a%2Fb@h:1/x".parse().expect("an address");
        let address = address.0.first();
        assert_eq!(address.account, Some(("me".to_owned(), "a/b".to_owned())));
        assert_eq!(address.url.as_str(), "https://h:1/x");
        for bad in ["s3cret", "amqp://me:s3cret@h", "http://me:s3cret@h?cacertfile=/s3cret"] {
            let error = bad.parse::<Address>().err().expect("refused");
            assert!(!error.contains("s3cret"), "{bad}: {error}");
        }
    }
}
