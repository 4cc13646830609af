//! Broker accounts with least rights, made over RabbitMQ's management API.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::connection::Endpoint;
use super::management::{Address, Management};
use super::reply_queues;
use super::topology::{BILLING_QUEUE, COMMANDS_EXCHANGE, REPLIES_EXCHANGE, reply_queue};
use crate::domain::id::TerminalId;

/// Length of generated passwords: 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// Most simultaneous connections of a terminal's account. Each costs the broker memory and a file
/// descriptor. A client needs two, and old ones may linger for a while after it reconnects.
pub const TERMINAL_CONNECTIONS_MAX: u32 = 32;
/// Most simultaneous channels of a terminal's account: four for each connection.
pub const TERMINAL_CHANNELS_MAX: u32 = 4 * TERMINAL_CONNECTIONS_MAX;

/// A permission pattern that matches no name.
const NOTHING: &str = "^$";

/// Workers declare the ring, which does not survive a restart of the broker, and its lock.
const WORKER_CONFIGURE: &str = r"^reservation\.partitions\.v2(\.lock)?$";
/// Workers publish replies, events, dead letters and wake-ups. Binding also needs write access to
/// what is bound: the partitions and the ring, which as an internal exchange accepts no messages.
const WORKER_WRITE: &str = concat!(
    r"^reservation\.(replies|events|dead|due)\.v1$|^reservation\.delay\.v1\.[0-9]+$",
    r"|^reservation\.commands\.v1\.[0-9]+$|^reservation\.partitions\.v2$"
);
/// Workers consume the partitions. Binding also needs read access to the source: the ring and the
/// commands' exchange.
const WORKER_READ: &str = r"^reservation\.commands\.v1(\.[0-9]+)?$|^reservation\.partitions\.v2$";

/// Name of the account of the billing system `name`. It cannot clash with a terminal's: terminal
/// ids have no underscore.
pub fn biller_account(name: &str) -> String {
    format!("biller_{name}")
}

/// Makes accounts on one vhost of the broker.
pub struct Accounts {
    management: Management,
    vhost: String,
}

/// What exists on the broker under an account's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// No account.
    Nothing,
    /// An account without permissions on any vhost and without tags: it cannot be in use.
    HalfMade,
    /// An account that may be in use.
    Complete,
}

impl Accounts {
    /// Uses the AMQP URL's account, unless the `management` address has one.
    pub fn new(management: &Address, broker: &Endpoint) -> Result<Self> {
        let management = Management::new(management, (broker.account(), broker.password()))?;
        Ok(Self { management, vhost: broker.vhost().to_owned() })
    }

    /// Looks for an account by name.
    pub(crate) async fn find(&self, account: &str) -> Result<Found> {
        let users = self.management.users().await.context("listing the broker's accounts")?;
        let Some(user) = users.iter().find(|user| user.name == account) else {
            return Ok(Found::Nothing);
        };
        let grants = self.management.permissions_of(account).await;
        let unused = grants.context("listing the account's permissions")?.is_empty();
        // An account with permissions on another vhost is in use there: keep its password.
        Ok(if unused && !user.has_tags() { Found::HalfMade } else { Found::Complete })
    }

    /// Makes a terminal's reply queue and account, and returns the account's password. Completes
    /// what an interrupted attempt left behind, with a new password.
    ///
    /// Permissions come last: an account without them is half-made and cannot be in use.
    pub async fn create_terminal(&self, terminal: &TerminalId) -> Result<String> {
        let name = terminal.as_str();
        if self.find(name).await? == Found::Complete {
            bail!("the broker already has an account named {name}");
        }
        self.declare_reply_queue(name).await?;
        let password = self.create_account(name).await?;
        self.limit(name, "max-connections", TERMINAL_CONNECTIONS_MAX).await?;
        self.limit(name, "max-channels", TERMINAL_CHANNELS_MAX).await?;
        self.grant_terminal(name).await?;
        Ok(password)
    }

    /// Makes an account that may only consume the billing queue, and returns its password. Like a
    /// terminal's, it is complete once it has permissions.
    pub async fn create_biller(&self, account: &str) -> Result<String> {
        if self.find(account).await? == Found::Complete {
            bail!("the broker already has an account named {account}");
        }
        let password = self.create_account(account).await?;
        self.grant(account, [NOTHING, NOTHING, &literal(BILLING_QUEUE)]).await?;
        Ok(password)
    }

    /// Makes an account for workers and returns its password. It cannot declare or delete anything
    /// but the ring, send commands or read replies. Like a terminal's, it is complete once it has
    /// permissions.
    pub async fn create_worker(&self, account: &str) -> Result<String> {
        if self.find(account).await? == Found::Complete {
            bail!("the broker already has an account named {account}");
        }
        let password = self.create_account(account).await?;
        self.grant(account, [WORKER_CONFIGURE, WORKER_WRITE, WORKER_READ]).await?;
        Ok(password)
    }

    /// Makes an account without permissions, or replaces its password. Returns the password.
    async fn create_account(&self, name: &str) -> Result<String> {
        let password: String =
            rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect();
        let salt: [u8; 4] = rand::rng().random();
        // No tags: such an account cannot use the management API or impersonate others.
        let account = json!({ "password_hash": password_hash(salt, &password), "tags": "" });
        let created = self.management.put(&["users", name], &account).await;
        created.context("creating the broker account")?;
        Ok(password)
    }

    /// Sets one limit of an account. The broker closes a connection that exceeds it, with 530.
    async fn limit(&self, account: &str, name: &str, max: u32) -> Result<()> {
        let path = ["user-limits", account, name];
        let limited = self.management.put(&path, &json!({ "value": max })).await;
        limited.with_context(|| format!("setting the account's limit {name}"))
    }

    async fn declare_reply_queue(&self, terminal: &str) -> Result<()> {
        let queue = reply_queue(terminal);
        let arguments = reply_queues::arguments_as_json();
        let declaration = json!({ "durable": true, "arguments": arguments });
        let declared = self.management.put(&["queues", &self.vhost, &queue], &declaration).await;
        declared.with_context(|| format!("declaring queue {queue}"))?;
        let path = ["bindings", &self.vhost, "e", REPLIES_EXCHANGE, "q", &queue];
        let bound = self.management.post(&path, &json!({ "routing_key": terminal })).await;
        bound.with_context(|| format!("binding queue {queue}; was the topology applied?"))
    }

    /// A terminal may publish commands under its own id and consume its own reply queue.
    async fn grant_terminal(&self, terminal: &str) -> Result<()> {
        let topics = json!({
            "exchange": COMMANDS_EXCHANGE,
            "write": "^{username}\\.",
            "read": NOTHING,
        });
        let path = ["topic-permissions", &self.vhost, terminal];
        self.management.put(&path, &topics).await.context("granting routing keys")?;
        let read = literal(&reply_queue(terminal));
        self.grant(terminal, [NOTHING, &literal(COMMANDS_EXCHANGE), &read]).await
    }

    /// Grants permissions, each a pattern of names.
    async fn grant(&self, account: &str, [configure, write, read]: [&str; 3]) -> Result<()> {
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        let path = ["permissions", &self.vhost, account];
        self.management.put(&path, &permissions).await.context("granting permissions")
    }
}

/// A password as the broker stores it: salt, then SHA-256 of salt and password.
/// <https://www.rabbitmq.com/docs/passwords#computing-password-hash>
fn password_hash(salt: [u8; 4], password: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([salt.as_slice(), &hash].concat())
}

/// A permission pattern that matches exactly one name.
fn literal(name: &str) -> String {
    format!("^{}$", name.replace('.', "\\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the broker's documentation.
    #[test]
    fn a_password_is_hashed_as_documented() {
        let salt = [0x90, 0x8D, 0xC6, 0x0A];
        let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        assert_eq!(password_hash(salt, "test12"), hash);
    }
}
