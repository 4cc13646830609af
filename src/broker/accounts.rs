//! Broker accounts with the least rights, over RabbitMQ's management API.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::connection::Endpoint;
use super::management::{Address, Management};
use super::topology::{
    BILLING_QUEUE, COMMANDS_EXCHANGE, REPLIES_EXCHANGE, REPLY_LEN_MAX, REPLY_TTL_MS, reply_queue,
};
use crate::domain::id::TerminalId;

/// Length of generated passwords; 32 alphanumerics are 190 bits.
const PASSWORD_LEN: usize = 32;

/// Connections that a terminal's account may have at once. Each costs the broker memory and a file; a
/// client needs two, and one that comes back may leave some behind for a while.
pub const TERMINAL_CONNECTIONS_MAX: u32 = 32;
/// Channels of all these together: four each.
pub const TERMINAL_CHANNELS_MAX: u32 = 4 * TERMINAL_CONNECTIONS_MAX;

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

/// The accounts of the broker.
pub struct Accounts {
    management: Management,
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
    /// Unless the `management` address carries an account, the AMQP URL's is used.
    pub fn new(management: &Address, broker: &Endpoint) -> Result<Self> {
        let management = Management::new(management, (broker.account(), broker.password()))?;
        Ok(Self { management, vhost: broker.vhost().to_owned() })
    }

    /// What the broker has under the name of `account`.
    pub async fn find(&self, account: &str) -> Result<Found> {
        let users = self.management.users().await.context("listing the broker's accounts")?;
        let Some(user) = users.iter().find(|user| user.name == account) else {
            return Ok(Found::Nothing);
        };
        let grants = self.management.permissions_of(account).await;
        let unused = grants.context("listing the account's permissions")?.is_empty();
        // Not one of another vhost's either: its password is not ours to change.
        Ok(if unused && !user.has_tags() { Found::HalfMade } else { Found::Complete })
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
        self.limit(name, "max-connections", TERMINAL_CONNECTIONS_MAX).await?;
        self.limit(name, "max-channels", TERMINAL_CHANNELS_MAX).await?;
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
        self.grant(account, [NOTHING, NOTHING, &literal(BILLING_QUEUE)]).await?;
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
        self.grant(account, [OF_WORKERS_CONFIGURE, OF_WORKERS_WRITE, OF_WORKERS_READ]).await?;
        Ok(password)
    }

    /// Makes an account without any rights, or gives it a new password; returns the password.
    async fn create_account(&self, name: &str) -> Result<String> {
        let password: String =
            rand::rng().sample_iter(Alphanumeric).take(PASSWORD_LEN).map(char::from).collect();
        let salt: [u8; 4] = rand::rng().random();
        // No tags: nobody who is given one of these manages or impersonates.
        let account = json!({ "password_hash": password_hash(salt, &password), "tags": "" });
        let created = self.management.put(&["users", name], &account).await;
        created.context("creating the broker account")?;
        Ok(password)
    }

    /// Past it, the broker closes the connection that asks for one more, with 530.
    async fn limit(&self, account: &str, of: &str, most: u32) -> Result<()> {
        let path = ["user-limits", account, of];
        let limited = self.management.put(&path, &json!({ "value": most })).await;
        limited.with_context(|| format!("setting the account's limit {of}"))
    }

    async fn declare_reply_queue(&self, terminal: &str) -> Result<()> {
        let queue = reply_queue(terminal);
        // Classic: about half the memory of a quorum queue, and what is lost can be asked again.
        let declaration = json!({
            "durable": true,
            "arguments": {
                "x-queue-type": "classic",
                "x-max-length": REPLY_LEN_MAX,
                "x-overflow": "drop-head",
                "x-message-ttl": REPLY_TTL_MS,
            },
        });
        let declared = self.management.put(&["queues", &self.vhost, &queue], &declaration).await;
        declared.with_context(|| format!("declaring queue {queue}"))?;
        let path = ["bindings", &self.vhost, "e", REPLIES_EXCHANGE, "q", &queue];
        let bound = self.management.post(&path, &json!({ "routing_key": terminal })).await;
        bound.with_context(|| format!("binding queue {queue}; was the topology applied?"))
    }

    /// Publish commands under its own name, read its own answers; nothing else.
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

    /// Grants what may be configured, written and read: a pattern of names each.
    async fn grant(&self, account: &str, [configure, write, read]: [&str; 3]) -> Result<()> {
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        let path = ["permissions", &self.vhost, account];
        self.management.put(&path, &permissions).await.context("granting permissions")
    }
}

/// A password as the broker keeps it: salt, then SHA-256 of salt and password.
/// <https://www.rabbitmq.com/docs/passwords#computing-password-hash>
fn password_hash(salt: [u8; 4], password: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([salt.as_slice(), &hash].concat())
}

/// A grant for exactly one name.
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
