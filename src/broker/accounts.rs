//! Broker accounts with least rights, created over RabbitMQ's management API.

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

/// 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// Most connections of a terminal's account: each costs the broker memory and a file descriptor. A
/// client needs two; old ones may linger after a reconnect.
pub const TERMINAL_CONNECTIONS_MAX: u32 = 32;
/// Most channels of a terminal's account.
pub const TERMINAL_CHANNELS_MAX: u32 = 4 * TERMINAL_CONNECTIONS_MAX;

const NOTHING: &str = "^$";

/// Workers publish replies, bills, events, dead letters and wake-ups.
const WORKER_WRITE: &str = r"^reservation\.(replies|events|dead|due)\.v1$|^billing\.entries\.v1$|^reservation\.delay\.v1\.[0-9]+$";
/// Workers consume the partitions and the queries.
const WORKER_READ: &str = r"^reservation\.commands\.v2\.[0-9]+$|^reservation\.queries\.v2$";

/// The billing system's account. It cannot be a terminal's: terminal ids have no underscore.
pub fn biller_account(name: &str) -> String {
    format!("biller_{name}")
}

/// Creates accounts on one vhost.
pub struct Accounts {
    management: Management,
    vhost: String,
}

/// What exists under an account's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// No account.
    Nothing,
    /// No permissions on any vhost and no tags, so not in use.
    HalfMade,
    /// May be in use.
    Complete,
}

impl Accounts {
    /// Uses the AMQP URL's account, unless the `management` address has one.
    pub fn new(management: &Address, broker: &Endpoint) -> Result<Self> {
        let management = Management::new(management, (broker.account(), broker.password()))?;
        Ok(Self { management, vhost: broker.vhost().to_owned() })
    }

    pub(crate) async fn find(&self, account: &str) -> Result<Found> {
        let users = self.management.users().await.context("listing the broker's accounts")?;
        let Some(user) = users.iter().find(|user| user.name == account) else {
            return Ok(Found::Nothing);
        };
        let grants = self.management.permissions_of(account).await;
        let unused = grants.context("listing the account's permissions")?.is_empty();
        // Permissions on another vhost mean that it is in use: keep its password.
        Ok(if unused && !user.has_tags() { Found::HalfMade } else { Found::Complete })
    }

    /// Creates a terminal's reply queue and account; returns the password. Completes an interrupted
    /// attempt, with a new password.
    ///
    /// Permissions come last: an account without them is half-made.
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

    /// Creates an account that may only consume the billing queue; returns the password.
    pub async fn create_biller(&self, account: &str) -> Result<String> {
        if self.find(account).await? == Found::Complete {
            bail!("the broker already has an account named {account}");
        }
        let password = self.create_account(account).await?;
        self.grant(account, [NOTHING, NOTHING, &literal(BILLING_QUEUE)]).await?;
        Ok(password)
    }

    /// Creates a workers' account; returns the password. It may declare and delete nothing, and neither
    /// send commands nor read replies.
    pub async fn create_worker(&self, account: &str) -> Result<String> {
        if self.find(account).await? == Found::Complete {
            bail!("the broker already has an account named {account}");
        }
        let password = self.create_account(account).await?;
        self.grant(account, [NOTHING, WORKER_WRITE, WORKER_READ]).await?;
        Ok(password)
    }

    /// Creates an account without permissions, or replaces its password.
    async fn create_account(&self, name: &str) -> Result<String> {
        let password: String =
            rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect();
        let salt: [u8; 4] = rand::rng().random();
        // No tags: no management API, no impersonation.
        let account = json!({ "password_hash": password_hash(salt, &password), "tags": "" });
        let created = self.management.put(&["users", name], &account).await;
        created.context("creating the broker account")?;
        Ok(password)
    }

    /// The broker closes a connection that exceeds it, with 530.
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

    async fn grant(&self, account: &str, [configure, write, read]: [&str; 3]) -> Result<()> {
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        let path = ["permissions", &self.vhost, account];
        self.management.put(&path, &permissions).await.context("granting permissions")
    }
}

/// The stored form. <https://www.rabbitmq.com/docs/passwords#computing-password-hash>
fn password_hash(salt: [u8; 4], password: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([salt.as_slice(), &hash].concat())
}

fn literal(name: &str) -> String {
    format!("^{}$", name.replace('.', "\\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RabbitMQ's documentation.
    #[test]
    fn a_password_is_hashed_as_documented() {
        let salt = [0x90, 0x8D, 0xC6, 0x0A];
        let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        assert_eq!(password_hash(salt, "test12"), hash);
    }
}
