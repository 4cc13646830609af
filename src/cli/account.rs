//! `holdfast account`: accounts of the database and the broker.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::config::{AMQP_URL, DATABASE_URL, MANAGEMENT_URL};
use super::context::Context;
use super::exit::refuse;
use super::output::hint;
use crate::broker::accounts::{Accounts, Found, biller_account};
use crate::broker::topology::BILLING_QUEUE;
use crate::domain::id::TerminalId;
use crate::store::admin::roles;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an account that has the rights for its work and no others; prints its URL
    ///
    /// The URL contains the account's password, which is shown this once. For a new password, delete
    /// the account and run this again. Terminals get their accounts from `holdfast terminal add`.
    #[command(subcommand, subcommand_value_name = "KIND", subcommand_help_heading = "Kinds")]
    #[command(after_help = "\
Example: the accounts for the workers, and one for the billing system
  holdfast account add database-worker holdfast_worker
  holdfast account add broker-worker holdfast_worker
  holdfast account add broker-billing acme")]
    Add(Kind),
}

#[derive(Subcommand)]
pub(super) enum Kind {
    /// PostgreSQL account for workers: decides and settles; prints a DATABASE_URL
    ///
    /// It changes neither tables nor policy, and only adds to history and bills. Run this with the
    /// account that migrates, which needs CREATEROLE.
    DatabaseWorker {
        /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first
        #[arg(value_parser = role_name)]
        name: String,
    },
    /// PostgreSQL account that reads bills and nothing else; prints a DATABASE_URL
    ///
    /// Run this with the account that migrates, which needs CREATEROLE.
    DatabaseBilling {
        /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first
        #[arg(value_parser = role_name)]
        name: String,
    },
    /// RabbitMQ account for workers: consumes partitions, publishes results; prints an AMQP_URL
    ///
    /// It consumes commands and queries, and publishes answers, notices, events, wake-ups and dead
    /// letters. It declares nothing.
    BrokerWorker {
        /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first, with an underscore, which
        /// no terminal's id can have
        #[arg(value_parser = worker_name)]
        name: String,
    },
    /// RabbitMQ account biller_NAME that consumes billing.entries.v1 and nothing else; prints an
    /// AMQP_URL
    ///
    /// No terminal's id can have the underscore in the account's name.
    BrokerBilling {
        /// Name: 1 to 64 characters of a-z, 0-9 and '-'
        #[arg(value_parser = biller_name)]
        name: String,
    },
}

impl Kind {
    /// Settings needed to make the account.
    pub(super) fn needs(&self) -> &'static [&'static str] {
        match self {
            Kind::DatabaseWorker { .. } | Kind::DatabaseBilling { .. } => &[DATABASE_URL],
            Kind::BrokerWorker { .. } | Kind::BrokerBilling { .. } => &[AMQP_URL, MANAGEMENT_URL],
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
    let Command::Add(kind) = command;
    match kind {
        Kind::DatabaseWorker { name } => add_role(context, roles::Kind::Worker, &name).await,
        Kind::DatabaseBilling { name } => add_role(context, roles::Kind::Billing, &name).await,
        Kind::BrokerWorker { name } => add_broker_worker(context, &name).await,
        Kind::BrokerBilling { name } => add_biller(context, &name).await,
    }
}

async fn add_role(context: &Context, kind: roles::Kind, name: &str) -> Result<()> {
    let mut client = context.database().await?;
    let Some(password) = roles::create(&mut client, name, kind).await? else {
        return refuse(format!(
            "account {name}: exists already in the database; choose another name"
        ));
    };
    let url = context.config.database()?.for_account(name, &password);
    hint!("account {name}; its URL, with the password, is shown this once:");
    let value = json!({ "account": name, "kind": kind.as_str(), "database_url": url });
    context.output.print(&value, || url.clone())
}

async fn add_broker_worker(context: &Context, account: &str) -> Result<()> {
    let accounts = unused(context, account).await?;
    let password = accounts.create_worker(account).await?;
    let url = context.config.broker()?.url_for(account, &password);
    hint!("account {account}; its AMQP URL, with the password, is shown this once:");
    context.output.print(&json!({ "account": account, "amqp_url": url }), || url.clone())
}

async fn add_biller(context: &Context, name: &str) -> Result<()> {
    let broker = context.config.broker()?;
    let account = biller_account(name);
    if account == broker.account() {
        return refuse(format!(
            "account {account}: is the account in AMQP_URL, which operates Holdfast; choose another name"
        ));
    }
    let accounts = unused(context, &account).await?;
    let password = accounts.create_biller(&account).await?;
    let url = broker.url_for(&account, &password);
    hint!(
        "account {account} for {BILLING_QUEUE}; its AMQP URL, with the password, is shown this \
         once:"
    );
    let value = json!({ "account": account, "queue": BILLING_QUEUE, "amqp_url": url });
    context.output.print(&value, || url.clone())
}

/// The broker's accounts; refuses if `account` is complete.
async fn unused(context: &Context, account: &str) -> Result<Accounts> {
    let accounts = Accounts::new(context.config.management()?, context.config.broker()?)?;
    match accounts.find(account).await? {
        Found::Complete => refuse(format!(
            "account {account}: exists already on the broker; for a new password delete it and run \
             this again, or choose another name"
        )),
        Found::HalfMade => {
            hint!("completing account {account}, which has no rights yet");
            Ok(accounts)
        }
        Found::Nothing => Ok(accounts),
    }
}
