//! Broker accounts with the least rights, over RabbitMQ's management API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rabbitmq_http_client::api::Client;
use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use rabbitmq_http_client::requests::{Permissions, QueueParams, TopicPermissions, UserParams};
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::json;
use url::Url;

use super::connection::Endpoint;
use super::topology::{
    BILLING_QUEUE, COMMANDS_EXCHANGE, REPLIES_EXCHANGE, REPLY_LEN_MAX, REPLY_TTL_MS, reply_queue,
};
use crate::domain::id::TerminalId;

/// Bound on one request to the management API.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Length of generated passwords; 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// A grant that matches no name.
const NOTHING: &str = "^$";

/// What a worker makes: the ring, which does not outlive a restart of the broker, and its lock.
const OF_WORKERS_CONFIGURE: &str = r"^reservation\.partitions\.v2(\.lock)?$";
/// What a worker publishes to: answers and notices, events, dead letters, and wake-ups on their way
/// and at its end. What it binds: the partitions to the ring, and the ring, to which nobody can
/// publish, to the commands' exchange.
const OF_WORKERS_WRITE: &str = concat!(
    r"^reservation\.(replies|events|dead|due)\.v1$|^reservation\.delay\.v1\.[0-9]+$",
    r"|^reservation\.commands\.v1\.[0-9]+$|^reservation\.partitions\.v2$"
);
/// What a worker consumes: the partitions. What it binds them to, and the ring.
const OF_WORKERS_READ: &str =
    r"^reservation\.commands\.v1(\.[0-9]+)?$|^reservation\.partitions\.v2$";

/// The account of the billing system `name`. No terminal's, as no id has an underscore.
pub fn biller_account(name: &str) -> String {
    format!("biller_{name}")
}

/// The management API of the broker.
pub struct Accounts {
    client: Client<String, String, String>,
    vhost: String,
}

/// What the broker has under an account's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No account.
    Nothing,
    /// An account without rights on any vhost and without tags: nobody can be using it.
    HalfMade,
    /// An account that can be in use.
    Complete,
}

impl Accounts {
    /// `management_url` may carry an account; otherwise the AMQP URL's is used.
    pub fn new(management_url: &Url, broker: &Endpoint) -> Result<Self> {
        let mut endpoint = management_url.clone();
        let (account, password) = match management_url.password() {
            Some(password) => (decode(management_url.username()), decode(password)),
            None => (broker.account().to_owned(), broker.password().to_owned()),
        };
        endpoint.set_username("").ok();
        endpoint.set_password(None).ok();
        let endpoint = format!("{}/api", endpoint.as_str().trim_end_matches('/'));
        let client = Client::<String, String, String>::builder()
            .with_endpoint(endpoint)
            .with_basic_auth_credentials(account, password)
            .with_request_timeout(REQUEST_TIMEOUT)
            .build()
            .context("the management URL")?;
        Ok(Self { client, vhost: broker.vhost().to_owned() })
    }

    /// What the broker has under the name of `account`.
    pub async fn find(&self, account: &str) -> Result<Found> {
        let users = self.client.list_users().await.context("listing the broker's accounts")?;
        let Some(user) = users.iter().find(|user| user.name == account) else {
            return Ok(Found::Nothing);
        };
        let grants = self.client.list_permissions_of(account).await;
        let unused = grants.context("listing the account's permissions")?.is_empty();
        // Not one of another vhost's either: its password is not ours to change.
        Ok(if unused && user.tags.0.is_empty() { Found::HalfMade } else { Found::Complete })
    }

    /// Makes a terminal's reply queue and account, and returns the account's password. What an
    /// earlier attempt left behind is completed, with a new password.
    ///
    /// The permissions come last: until then the account can do nothing, and what is half-made can
    /// be told from what is in use.
    pub async fn create_terminal(&self, terminal: &TerminalId) -> Result<String> {
        let name = terminal.as_str();
        if self.find(name).await? == Found::Complete {
            bail!("the broker already has an account named {name}");
        }
        self.declare_reply_queue(name).await?;
        let password = self.create_account(name).await?;
        self.grant_terminal(name).await?;
        Ok(password)
    }

    /// Makes an account that may consume the billing queue and nothing else, and returns its
    /// password. Like a terminal's, it is complete once it has its permissions.
    pub async fn create_biller(&self, account: &str) -> Result<String> {
        if self.find(account).await? == Found::Complete {
            bail!("the broker already has an account named {account}");
        }
        let password = self.create_account(account).await?;
        let permissions = Permissions {
            user: account,
            vhost: &self.vhost,
            configure: NOTHING,
            write: NOTHING,
            read: &literal(BILLING_QUEUE),
        };
        let granted = self.client.declare_permissions(&permissions).await;
        granted.context("granting permissions")?;
        Ok(password)
    }

    /// Makes an account for workers and returns its password. It cannot declare or delete anything
    /// but the ring, send a command or read an answer. Like a terminal's, it is complete once it has its
    /// permissions.
    pub async fn create_worker(&self, account: &str) -> Result<String> {
        if self.find(account).await? == Found::Complete {
            bail!("the broker already has an account named {account}");
        }
        let password = self.create_account(account).await?;
        let permissions = Permissions {
            user: account,
            vhost: &self.vhost,
            configure: OF_WORKERS_CONFIGURE,
            write: OF_WORKERS_WRITE,
            read: OF_WORKERS_READ,
        };
        let granted = self.client.declare_permissions(&permissions).await;
        granted.context("granting permissions")?;
        Ok(password)
    }

    /// Makes an account without any rights, or gives it a new password; returns the password.
    async fn create_account(&self, name: &str) -> Result<String> {
        let password: String =
            rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect();
        let salt: [u8; 4] = rand::rng().random();
        let hash = base64_encoded_salted_password_hash_sha256(&salt, &password);
        // No tags: nobody who is given one of these manages or impersonates.
        let account = UserParams::new(name, &hash, "");
        self.client.create_user(&account).await.context("creating the broker account")?;
        Ok(password)
    }

    async fn declare_reply_queue(&self, terminal: &str) -> Result<()> {
        let queue = reply_queue(terminal);
        let arguments = json!({
            "x-max-length": REPLY_LEN_MAX,
            "x-overflow": "drop-head",
            "x-message-ttl": REPLY_TTL_MS,
        });
        // Classic: about half the memory of a quorum queue, and what is lost can be asked again.
        let params = QueueParams::new_durable_classic_queue(&queue, arguments.as_object().cloned());
        self.client
            .declare_queue(&self.vhost, &params)
            .await
            .with_context(|| format!("declaring queue {queue}"))?;
        self.client
            .bind_queue(&self.vhost, &queue, REPLIES_EXCHANGE, Some(terminal), None)
            .await
            .with_context(|| format!("binding queue {queue}; was the topology applied?"))
    }

    /// Publish commands under its own name, read its own answers; nothing else.
    async fn grant_terminal(&self, terminal: &str) -> Result<()> {
        let permissions = Permissions {
            user: terminal,
            vhost: &self.vhost,
            configure: NOTHING,
            write: &literal(COMMANDS_EXCHANGE),
            read: &literal(&reply_queue(terminal)),
        };
        let topics = TopicPermissions {
            user: terminal,
            vhost: &self.vhost,
            exchange: COMMANDS_EXCHANGE,
            write: "^{username}\\.",
            read: NOTHING,
        };
        let granted = self.client.declare_topic_permissions(&topics).await;
        granted.context("granting routing keys")?;
        self.client.declare_permissions(&permissions).await.context("granting permissions")
    }
}

/// A grant for exactly one name.
fn literal(name: &str) -> String {
    format!("^{}$", name.replace('.', "\\."))
}

/// Undoes a URL's percent-encoding.
fn decode(text: &str) -> String {
    // A URL's query is the one part for which the crate decodes; `+` is kept by encoding it first.
    let query = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}
