//! Broker accounts with least rights, created over RabbitMQ's management API.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::connection::Endpoint;
use super::management::{Address, Management};
use super::reply_queues;
use super::topology::{BILLING_QUEUE, COMMANDS_EXCHANGE, REPLIES_EXCHANGE, reply_queue};
use crate::domain::id::TerminalId;

/// Most connections of a terminal's account: each costs the broker memory and a file descriptor. A
/// client needs two; old ones may linger after a reconnect.
pub const TERMINAL_CONNECTIONS_MAX: u32 = 32;
/// Most channels of a terminal's account.
pub const TERMINAL_CHANNELS_MAX: u32 = 4 * TERMINAL_CONNECTIONS_MAX;

const NOTHING: &str = "^$";

/// How monitors' accounts begin, and their tag: together they are ours.
const MONITORS: &str = "monitor_";
const MONITORING: &str = "monitoring";

/// Accounts per page of the API.
const ACCOUNTS_MAX: usize = 100_000;

/// Workers publish replies, bills, events, dead letters and wake-ups.
const WORKER_WRITE: &str = r"^reservation\.(replies|events|dead|due)\.v1$|^billing\.entries\.v1$|^reservation\.delay\.v1\.[0-9]+$";
/// Workers consume the partitions and the queries.
const WORKER_READ: &str = r"^reservation\.commands\.v2\.[0-9]+$|^reservation\.queries\.v2$";

/// What an account that is no terminal's is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Workers. Such an account may declare and delete nothing, and neither send commands nor read replies.
    Worker,
    /// A billing system. Such an account may only consume the billing queue.
    Billing,
    /// Who watches. Such an account reads the management API and may look up what exists; it neither
    /// declares, nor publishes, nor consumes.
    Monitor,
}

impl Purpose {
    /// The account's name. It cannot be a terminal's: terminal ids have no underscore.
    pub fn account(self, name: &str) -> String {
        match self {
            Purpose::Worker => name.to_owned(),
            Purpose::Billing => format!("biller_{name}"),
            Purpose::Monitor => format!("{MONITORS}{name}"),
        }
    }

    /// The kind's word on the command line.
    pub fn kind(self) -> &'static str {
        match self {
            Purpose::Worker => "broker-worker",
            Purpose::Billing => "broker-billing",
            Purpose::Monitor => "broker-monitor",
        }
    }

    /// The one queue that it consumes.
    pub fn queue(self) -> Option<&'static str> {
        (self == Purpose::Billing).then_some(BILLING_QUEUE)
    }

    pub(super) fn grants(self) -> Grants {
        let [configure, write, read] = match self {
            Purpose::Worker => [NOTHING, WORKER_WRITE, WORKER_READ].map(str::to_owned),
            Purpose::Billing => [NOTHING.to_owned(), NOTHING.to_owned(), literal(BILLING_QUEUE)],
            // With any permission it may use the vhost, which is what looking up takes.
            Purpose::Monitor => [NOTHING; 3].map(str::to_owned),
        };
        Grants { configure, write, read }
    }

    /// Most accounts have none: no management API, no impersonation.
    fn tags(self) -> &'static str {
        match self {
            Purpose::Monitor => MONITORING,
            Purpose::Worker | Purpose::Billing => "",
        }
    }
}

/// Permissions on a vhost, as patterns.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Grants {
    pub(super) configure: String,
    pub(super) write: String,
    pub(super) read: String,
}

/// Creates accounts on one vhost.
pub struct Accounts {
    management: Management,
    vhost: String,
}

#[derive(Deserialize)]
struct Permission {
    user: String,
    #[serde(flatten)]
    grants: Grants,
}

#[derive(Deserialize)]
struct OpenConnection {
    #[serde(default)]
    user: String,
}

/// An account on the vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name.
    pub(crate) account: String,
    /// What it is for; `None`: a terminal's.
    pub(crate) purpose: Option<Purpose>,
    /// Open connections, as far as the API knows; it is some seconds behind.
    pub(crate) connections: usize,
}

/// What exists under an account's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// No account.
    Nothing,
    /// No permissions on any vhost and no tags, so not in use.
    HalfMade,
    /// May be in use.
    Complete,
    /// Has these tags, so somebody manages the broker with it.
    Tagged(String),
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
        Ok(match user.tags() {
            tags if !tags.is_empty() && !is_monitors(account, &tags) => Found::Tagged(tags),
            _ if unused => Found::HalfMade,
            _ => Found::Complete,
        })
    }

    /// Creates a terminal's reply queue and account. Completes an interrupted attempt, with a new password.
    ///
    /// Permissions come last: an account without them is half-made.
    pub async fn create_terminal(&self, terminal: &TerminalId, password: &str) -> Result<()> {
        let name = terminal.as_str();
        self.check_unused(name).await?;
        self.declare_reply_queue(name).await?;
        self.put_account(name, password, "").await?;
        self.limit_and_grant(name).await
    }

    /// Gives a terminal's account what it lacks but for a password: limits, rights, and its reply queue.
    pub(crate) async fn complete_terminal(&self, terminal: &TerminalId) -> Result<()> {
        let name = terminal.as_str();
        self.declare_reply_queue(name).await?;
        self.limit_and_grant(name).await
    }

    async fn limit_and_grant(&self, terminal: &str) -> Result<()> {
        self.limit(terminal, "max-connections", TERMINAL_CONNECTIONS_MAX).await?;
        self.limit(terminal, "max-channels", TERMINAL_CHANNELS_MAX).await?;
        self.grant_terminal(terminal).await
    }

    /// Creates an account that is no terminal's.
    pub async fn create(&self, purpose: Purpose, account: &str, password: &str) -> Result<()> {
        self.check_unused(account).await?;
        self.put_account(account, password, purpose.tags()).await?;
        self.grant(account, &purpose.grants()).await
    }

    /// Whether an account has on this vhost the rights for a purpose, and no others.
    pub(crate) async fn is_for(&self, purpose: Purpose, account: &str) -> Result<bool> {
        Ok(self.grants_here(account).await? == Some(purpose.grants()))
    }

    /// Whether an account has on this vhost the rights of a terminal, and no others.
    pub(crate) async fn is_terminals(&self, account: &str) -> Result<bool> {
        Ok(self.grants_here(account).await? == Some(terminal_grants(account)))
    }

    async fn grants_here(&self, account: &str) -> Result<Option<Grants>> {
        let path = ["users", account, "permissions"];
        let all: Vec<Value> = self.management.read(&path).await?;
        let here = |granted: &&Value| granted["vhost"] == self.vhost.as_str();
        Ok(all.iter().find(here).map(Grants::deserialize).transpose()?)
    }

    /// Gives an account for a purpose another password. Its connections stay.
    pub(crate) async fn set_password(
        &self,
        purpose: Purpose,
        account: &str,
        password: &str,
    ) -> Result<()> {
        self.put_account(account, password, purpose.tags()).await
    }

    /// Gives a terminal's account another password. Its connections stay.
    pub(crate) async fn set_terminal_password(
        &self,
        terminal: &TerminalId,
        password: &str,
    ) -> Result<()> {
        self.put_account(terminal.as_str(), password, "").await
    }

    /// Accounts with permissions on this vhost that are as we make them, by name.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>> {
        let path = ["vhosts", &self.vhost, "permissions"];
        let granted: Vec<Permission> =
            self.management.read(&path).await.context("listing permissions")?;
        if granted.len() > ACCOUNTS_MAX {
            bail!("there are more than {ACCOUNTS_MAX} accounts on the vhost");
        }
        let connections = self.connections().await?;
        let listed = |Permission { user, grants }: Permission| {
            let purpose =
                [Purpose::Worker, Purpose::Billing, Purpose::Monitor].into_iter().find(|purpose| {
                    let named = *purpose != Purpose::Monitor || user.starts_with(MONITORS);
                    named && grants == purpose.grants()
                });
            let kind = match purpose {
                Some(purpose) => Some(purpose),
                None if grants == terminal_grants(&user) => None,
                None => return None,
            };
            let connections = connections.get(&user).copied().unwrap_or(0);
            Some(Listed { account: user, purpose: kind, connections })
        };
        let mut all: Vec<Listed> = granted.into_iter().filter_map(listed).collect();
        all.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(all)
    }

    /// Open connections to the vhost, by account.
    async fn connections(&self) -> Result<HashMap<String, usize>> {
        let path = ["vhosts", &self.vhost, "connections"];
        let open: Vec<OpenConnection> = self
            .management
            .read_with(&path, &[("columns", "user")])
            .await
            .context("listing connections")?;
        let mut counts = HashMap::new();
        for connection in open {
            *counts.entry(connection.user).or_default() += 1;
        }
        Ok(counts)
    }

    /// Open connections of an account.
    pub(crate) async fn count_connections(&self, account: &str) -> Result<usize> {
        let path = ["connections", "username", account];
        let open: Vec<Value> = self.management.read(&path).await.context("listing connections")?;
        Ok(open.len())
    }

    /// Deletes an account.
    pub(crate) async fn delete(&self, account: &str) -> Result<()> {
        let deleted = self.management.delete(&["users", account]).await;
        deleted.context("deleting the broker account")
    }

    async fn check_unused(&self, account: &str) -> Result<()> {
        match self.find(account).await? {
            Found::Nothing | Found::HalfMade => Ok(()),
            Found::Complete | Found::Tagged(_) => {
                bail!("the broker already has an account named {account}")
            }
        }
    }

    /// Creates an account without permissions, or replaces its password.
    async fn put_account(&self, name: &str, password: &str, tags: &str) -> Result<()> {
        let salt: [u8; 4] = rand::rng().random();
        let account = json!({ "password_hash": password_hash(salt, password), "tags": tags });
        let put = self.management.put(&["users", name], &account).await;
        put.context("setting up the broker account")
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
        self.grant(terminal, &terminal_grants(terminal)).await
    }

    async fn grant(&self, account: &str, grants: &Grants) -> Result<()> {
        let Grants { configure, write, read } = grants;
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        let path = ["permissions", &self.vhost, account];
        self.management.put(&path, &permissions).await.context("granting permissions")
    }
}

fn is_monitors(account: &str, tags: &str) -> bool {
    account.starts_with(MONITORS) && tags == MONITORING
}

/// The stored form. <https://www.rabbitmq.com/docs/passwords#computing-password-hash>
fn password_hash(salt: [u8; 4], password: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
    STANDARD.encode([salt.as_slice(), &hash].concat())
}

pub(super) fn terminal_grants(terminal: &str) -> Grants {
    Grants {
        configure: NOTHING.to_owned(),
        write: literal(COMMANDS_EXCHANGE),
        read: literal(&reply_queue(terminal)),
    }
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
