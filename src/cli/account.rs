//! `holdfast account`: accounts of the database and the broker.

mod broker;
mod list;
mod new;
mod role;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::config::{AMQP_URL, DATABASE_URL, MANAGEMENT_URL};
use super::context::Context;
use super::output::Csv;
use super::secret::UrlFile;
use crate::broker::accounts::Purpose;
use crate::domain::id::TerminalId;
use crate::store::admin::roles;
use new::New;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account that has the rights for its work and no others; prints its URL
    ///
    /// The URL contains the account's password, which is shown this once, before the account is made: if
    /// it cannot be written, nothing is made. `holdfast account rotate` makes another password. Terminals
    /// get their accounts from `holdfast terminal add`.
    #[command(subcommand, subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
    #[command(after_help = "\
Example: the accounts for the workers, and one for the billing system
  holdfast account add database-worker holdfast_worker
  holdfast account add broker-worker holdfast_worker
  holdfast account add broker-billing acme")]
    Add(Kind),
    /// List accounts of both engines: what each is for, since when, and whether it is in use
    ///
    /// An overlap is more than one account of a kind on an engine: what uses the first is given the second,
    /// and then the first is removed. Connections are those of this moment. RABBITMQ_MANAGEMENT_URL is needed to
    /// see accounts of the broker that no worker has used.
    List {
        #[command(flatten)]
        csv: Csv,
    },
    /// Give an account a new password; prints its URL
    ///
    /// The old password is invalid from then on. Connections stay, but none can be opened with it, until
    /// the URL is replaced where it is used (a file of a URL is read at every connect). To replace an account
    /// without a gap, make a second one with --beside, give its URL to what uses the first, and remove the
    /// first.
    #[command(subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
    #[command(after_help = "\
Example: another account for the workers, both valid until the first is removed
  holdfast account rotate broker-worker holdfast_worker2 --beside holdfast_worker
  holdfast account list
  holdfast account remove broker-worker holdfast_worker")]
    Rotate(Rotated),
    /// Delete an account that nothing uses any more
    ///
    /// It refuses while the account has connections.
    #[command(subcommand, subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
    Remove(Removed),
}

#[derive(Subcommand)]
pub(super) enum Kind {
    /// PostgreSQL account for workers: decides and settles; prints a DATABASE_URL
    ///
    /// It changes neither tables nor policy, and only adds to history and bills. Run this with the
    /// account that migrates, which needs CREATEROLE.
    DatabaseWorker(Role),
    /// PostgreSQL account that reads bills and nothing else; prints a DATABASE_URL
    ///
    /// Run this with the account that migrates, which needs CREATEROLE.
    DatabaseBilling(Role),
    /// RabbitMQ account for workers: consumes partitions, publishes results; prints an AMQP_URL
    ///
    /// It consumes commands and queries, and publishes answers, notices, events, wake-ups and dead
    /// letters. It declares nothing.
    BrokerWorker(Worker),
    /// RabbitMQ account biller_NAME that consumes billing.entries.v1 and nothing else; prints an
    /// AMQP_URL
    ///
    /// No terminal's id can have the underscore in the account's name.
    BrokerBilling(Biller),
    /// PostgreSQL account that reads what `status`, `doctor` and `topology verify` look at; prints a
    /// DATABASE_URL
    ///
    /// It reads no messages, prices or connection URLs, and changes nothing. Run this with the account that
    /// migrates, which needs CREATEROLE.
    DatabaseMonitor(Role),
    /// RabbitMQ account monitor_NAME for the same, with the tag `monitoring`; prints an AMQP_URL
    ///
    /// It declares, publishes and consumes nothing. It reads the management API, with the same password.
    BrokerMonitor(Biller),
    /// PostgreSQL account for gates: reads who is admitted when, and records use; prints a DATABASE_URL
    ///
    /// It reads no users, prices or messages, and of access keys only hashes. Run this with the account that
    /// migrates, which needs CREATEROLE.
    DatabaseGate(Role),
}

#[derive(Args)]
pub(super) struct Rotated {
    #[command(subcommand)]
    kind: Kind,
    /// Make a second account instead, NAME, beside this one, which stays valid
    #[arg(long, value_name = "NAME", global = true)]
    beside: Option<String>,
}

#[derive(Args)]
pub(super) struct Role {
    /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first
    #[arg(value_parser = role_name)]
    name: String,
    #[command(flatten)]
    url_file: UrlFile,
}

#[derive(Args)]
pub(super) struct Worker {
    /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first, with an underscore, which no
    /// terminal's id can have
    #[arg(value_parser = worker_name)]
    name: String,
    #[command(flatten)]
    url_file: UrlFile,
}

#[derive(Args)]
pub(super) struct Biller {
    /// Name: 1 to 64 characters of a-z, 0-9 and '-'
    #[arg(value_parser = biller_name)]
    name: String,
    #[command(flatten)]
    url_file: UrlFile,
}

#[derive(Subcommand)]
pub(super) enum Removed {
    /// RabbitMQ account for workers
    ///
    /// It refuses while the account has connections. What the account has published is still believed,
    /// since its wake-ups wait on the broker until the last deadline.
    BrokerWorker(Named),
    /// RabbitMQ account biller_NAME
    BrokerBilling(Named),
    /// RabbitMQ account monitor_NAME
    BrokerMonitor(Named),
    /// PostgreSQL account for workers
    ///
    /// Run this with the account that made it.
    DatabaseWorker(Named),
    /// PostgreSQL account that reads bills
    DatabaseBilling(Named),
    /// PostgreSQL account that watches
    DatabaseMonitor(Named),
    /// PostgreSQL account for gates
    DatabaseGate(Named),
}

#[derive(Args)]
pub(super) struct Named {
    /// The name that it was added with
    #[arg(value_parser = biller_or_role_name)]
    name: String,
}

impl Command {
    /// Settings that it needs.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Command::Add(kind) | Command::Rotate(Rotated { kind, .. }) => match kind {
                Kind::DatabaseWorker(_)
                | Kind::DatabaseBilling(_)
                | Kind::DatabaseMonitor(_)
                | Kind::DatabaseGate(_) => &[DATABASE_URL],
                Kind::BrokerWorker(_) | Kind::BrokerBilling(_) | Kind::BrokerMonitor(_) => {
                    &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL]
                }
            },
            Command::Remove(removed) => match removed {
                Removed::DatabaseWorker(_)
                | Removed::DatabaseBilling(_)
                | Removed::DatabaseMonitor(_)
                | Removed::DatabaseGate(_) => &[DATABASE_URL],
                Removed::BrokerWorker(_)
                | Removed::BrokerBilling(_)
                | Removed::BrokerMonitor(_) => &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL],
            },
            Command::List { .. } => &[DATABASE_URL],
        }
    }
}

fn role_name(text: &str) -> Result<String, String> {
    match roles::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name is 1 to 63 characters of a-z, 0-9 and '_', a letter first".to_owned()),
    }
}

fn worker_name(text: &str) -> Result<String, String> {
    match roles::is_name(text) && text.contains('_') {
        true => Ok(text.to_owned()),
        false => Err("a name is 1 to 63 characters of a-z, 0-9 and '_', a letter first, with an \
                      underscore"
            .to_owned()),
    }
}

/// Ids need no quotes in a URL or a shell.
fn biller_name(text: &str) -> Result<String, String> {
    match TerminalId::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a name is 1 to 64 characters of a-z, 0-9 and '-'".to_owned()),
    }
}

/// Either kind of name; an unknown one is no account.
fn biller_or_role_name(text: &str) -> Result<String, String> {
    biller_name(text).or_else(|_| role_name(text))
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add(kind) => add(context, &kind, None).await,
        Command::Rotate(Rotated { kind, beside: Some(old) }) => {
            add(context, &kind, Some(old.as_str())).await
        }
        Command::Rotate(Rotated { kind, beside: None }) => rotate(context, &kind).await,
        Command::Remove(removed) => remove(context, &removed).await,
        Command::List { csv } => list::run(context, csv).await,
    }
}

impl Kind {
    fn name(&self) -> &str {
        match self {
            Kind::DatabaseWorker(role)
            | Kind::DatabaseBilling(role)
            | Kind::DatabaseMonitor(role)
            | Kind::DatabaseGate(role) => &role.name,
            Kind::BrokerWorker(worker) => &worker.name,
            Kind::BrokerBilling(other) | Kind::BrokerMonitor(other) => &other.name,
        }
    }

    fn url_file(&self) -> &UrlFile {
        match self {
            Kind::DatabaseWorker(role)
            | Kind::DatabaseBilling(role)
            | Kind::DatabaseMonitor(role)
            | Kind::DatabaseGate(role) => &role.url_file,
            Kind::BrokerWorker(worker) => &worker.url_file,
            Kind::BrokerBilling(other) | Kind::BrokerMonitor(other) => &other.url_file,
        }
    }

    fn engine(&self) -> Engine {
        match self {
            Kind::DatabaseWorker(_) => Engine::Database(roles::Kind::Worker),
            Kind::DatabaseBilling(_) => Engine::Database(roles::Kind::Billing),
            Kind::DatabaseMonitor(_) => Engine::Database(roles::Kind::Monitor),
            Kind::DatabaseGate(_) => Engine::Database(roles::Kind::Gate),
            Kind::BrokerWorker(_) => Engine::Broker(Purpose::Worker),
            Kind::BrokerBilling(_) => Engine::Broker(Purpose::Billing),
            Kind::BrokerMonitor(_) => Engine::Broker(Purpose::Monitor),
        }
    }
}

/// Where an account is, and what it is for.
#[derive(Clone, Copy)]
enum Engine {
    Database(roles::Kind),
    Broker(Purpose),
}

async fn add(context: &Context, kind: &Kind, beside: Option<&str>) -> Result<()> {
    let new = New { name: kind.name(), url_file: kind.url_file(), beside };
    match kind.engine() {
        Engine::Database(kind) => role::add(context, kind, new).await,
        Engine::Broker(purpose) => broker::add(context, purpose, new).await,
    }
}

async fn rotate(context: &Context, kind: &Kind) -> Result<()> {
    match kind.engine() {
        Engine::Database(of) => role::rotate(context, of, kind.name(), kind.url_file()).await,
        Engine::Broker(purpose) => {
            broker::rotate(context, purpose, kind.name(), kind.url_file()).await
        }
    }
}

async fn remove(context: &Context, removed: &Removed) -> Result<()> {
    match removed {
        Removed::DatabaseWorker(Named { name }) => {
            role::remove(context, roles::Kind::Worker, name).await
        }
        Removed::DatabaseBilling(Named { name }) => {
            role::remove(context, roles::Kind::Billing, name).await
        }
        Removed::DatabaseMonitor(Named { name }) => {
            role::remove(context, roles::Kind::Monitor, name).await
        }
        Removed::DatabaseGate(Named { name }) => {
            role::remove(context, roles::Kind::Gate, name).await
        }
        Removed::BrokerWorker(Named { name }) => broker::remove_workers(context, name).await,
        Removed::BrokerBilling(Named { name }) => {
            broker::remove(context, Purpose::Billing, name).await
        }
        Removed::BrokerMonitor(Named { name }) => {
            broker::remove(context, Purpose::Monitor, name).await
        }
    }
}
