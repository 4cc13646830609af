//! `holdfast account`: accounts of the database and the broker.

mod broker;
mod role;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::config::{AMQP_URL, DATABASE_URL, MANAGEMENT_URL};
use super::context::Context;
use super::secret::UrlFile;
use crate::broker::accounts::Purpose;
use crate::domain::id::TerminalId;
use crate::store::admin::roles;

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
    /// Give an account a new password; prints its URL
    ///
    /// The old password is invalid from then on. Connections stay, but none can be opened with it: to
    /// replace a worker's account without a gap, add a second one, restart the workers with it, and
    /// remove the first.
    #[command(subcommand, subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
    Rotate(Kind),
    /// Delete an account that workers no longer use
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
    BrokerWorker {
        /// The account's name
        name: String,
    },
}

impl Command {
    /// Settings that it needs.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Command::Add(kind) | Command::Rotate(kind) => match kind {
                Kind::DatabaseWorker(_) | Kind::DatabaseBilling(_) => &[DATABASE_URL],
                Kind::BrokerWorker(_) | Kind::BrokerBilling(_) => {
                    &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL]
                }
            },
            Command::Remove(_) => &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL],
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

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add(kind) => add(context, kind).await,
        Command::Rotate(kind) => rotate(context, kind).await,
        Command::Remove(Removed::BrokerWorker { name }) => broker::remove(context, &name).await,
    }
}

async fn add(context: &Context, kind: Kind) -> Result<()> {
    match kind {
        Kind::DatabaseWorker(Role { name, url_file }) => {
            role::add(context, roles::Kind::Worker, &name, &url_file).await
        }
        Kind::DatabaseBilling(Role { name, url_file }) => {
            role::add(context, roles::Kind::Billing, &name, &url_file).await
        }
        Kind::BrokerWorker(Worker { name, url_file }) => {
            broker::add(context, Purpose::Worker, &name, &url_file).await
        }
        Kind::BrokerBilling(Biller { name, url_file }) => {
            broker::add(context, Purpose::Billing, &name, &url_file).await
        }
    }
}

async fn rotate(context: &Context, kind: Kind) -> Result<()> {
    match kind {
        Kind::DatabaseWorker(Role { name, url_file }) => {
            role::rotate(context, roles::Kind::Worker, &name, &url_file).await
        }
        Kind::DatabaseBilling(Role { name, url_file }) => {
            role::rotate(context, roles::Kind::Billing, &name, &url_file).await
        }
        Kind::BrokerWorker(Worker { name, url_file }) => {
            broker::rotate(context, Purpose::Worker, &name, &url_file).await
        }
        Kind::BrokerBilling(Biller { name, url_file }) => {
            broker::rotate(context, Purpose::Billing, &name, &url_file).await
        }
    }
}
