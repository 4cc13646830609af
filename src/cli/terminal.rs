//! `holdfast terminal`.

mod snippet;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::json;
use tokio_postgres::Client;

use super::context::Context;
use super::exit::{refusal, refuse};
use super::output::{Csv, hint, table, time, yes_or_no};
use crate::broker::accounts::{Accounts, Found};
use crate::domain::id::{TerminalId, UserId};
use crate::domain::refusal::Code;
use crate::store::admin::servers;
use crate::store::admin::terminals::{self, TerminalAdded, TerminalLine};
use crate::store::registry;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a terminal and make its broker account; prints the AMQP URL to use it with
    ///
    /// The URL contains the account's password, which is shown this once. If the command was
    /// interrupted before the account was complete, run it again. A small terminal in Python, without
    /// the password, is printed to standard error.
    #[command(after_help = "\
Example: a request as that terminal
  export AMQP_URL=$(holdfast terminal add alice-1 --user alice)
  holdfast client request --server gpu-1 --start +2d --end +3d")]
    Add {
        /// Id, also the account's name: 1 to 64 characters of a-z, 0-9 and '-'
        id: TerminalId,
        /// The user that it belongs to
        #[arg(long, value_name = "ID")]
        user: UserId,
    },
    /// List the terminals
    List {
        /// Only those of this user
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
        #[command(flatten)]
        csv: Csv,
    },
    /// Refuse a terminal's commands from now on
    ///
    /// The refusal `terminal_disabled` is not stored: once the terminal is enabled, the same messages
    /// can be sent again. Its reservations stay, and are settled at their deadlines. Its broker
    /// account stays too.
    Disable {
        /// The terminal's id
        id: TerminalId,
    },
    /// Decide a terminal's commands again
    Enable {
        /// The terminal's id
        id: TerminalId,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add { id, user } => add(context, id, user).await,
        Command::List { user, csv } => list(context, user, csv).await,
        Command::Disable { id } => set_enabled(context, &id, false).await,
        Command::Enable { id } => set_enabled(context, &id, true).await,
    }
}

async fn add(context: &Context, id: TerminalId, user: UserId) -> Result<()> {
    let broker = context.config.broker()?;
    if id.as_str() == broker.account() {
        // Workers trust every message from their own account.
        return refuse(format!(
            "terminal {id}: is the account in AMQP_URL, which operates Holdfast; choose another id, \
             such as {id}-1"
        ));
    }
    let accounts = Accounts::new(context.config.management()?, broker)?;
    let client = context.database().await?;
    let account = accounts.find(id.as_str()).await?;
    if account != Found::Nothing && !registry::terminal_exists(&client, id.as_str()).await? {
        return refuse(format!(
            "account {id}: exists on the broker, and is no terminal's; choose another id"
        ));
    }
    register(&client, &id, &user, account).await?;
    // For a first request.
    let server = servers::load_open_server(&client).await?;
    let password = accounts
        .create_terminal(&id)
        .await
        .context("terminal is registered but has no complete account")?;
    let url = broker.url_for(id.as_str(), &password);
    hint!("terminal {id} of user {user}; its AMQP URL, with the password, is shown this once:");
    let value = json!({ "terminal": id.as_str(), "user": user.as_str(), "amqp_url": url });
    context.output.print(&value, || url.clone())?;
    if !context.output.json {
        hint!("\n{}", snippet::python(&id, server.as_deref()));
    }
    Ok(())
}

/// Adds the row. Refuses an existing terminal, unless its `account` is incomplete.
async fn register(client: &Client, id: &TerminalId, user: &UserId, account: Found) -> Result<()> {
    match terminals::insert_terminal(client, id, user).await.map_err(refusal)? {
        TerminalAdded::UnknownUser => {
            refuse(format!("user {user}: unknown; list users with `holdfast user list`"))
        }
        TerminalAdded::Taken => {
            refuse(format!("terminal {id}: belongs to another user; choose another id"))
        }
        TerminalAdded::Exists if account == Found::Complete => refuse(format!(
            "terminal {id}: exists already; for a new password delete its broker account and run \
             this again"
        )),
        TerminalAdded::Exists => {
            hint!("completing terminal {id}, which has no complete account yet");
            Ok(())
        }
        TerminalAdded::New => Ok(()),
    }
}

async fn list(context: &Context, user: Option<UserId>, csv: Csv) -> Result<()> {
    let client = context.database().await?;
    let terminals = terminals::list_terminals(&client, user.as_ref()).await?;
    context.output.list(csv, &["id", "user", "enabled", "created_at"], &terminals, || {
        let row = |terminal: &TerminalLine| {
            let TerminalLine { id, user, enabled, created_at } = terminal;
            vec![id.clone(), user.clone(), yes_or_no(*enabled), time(*created_at)]
        };
        let rows: Vec<Vec<String>> = terminals.iter().map(row).collect();
        table(&["ID", "USER", "ENABLED", "ADDED"], &rows)
    })
}

async fn set_enabled(context: &Context, id: &TerminalId, enabled: bool) -> Result<()> {
    let client = context.database().await?;
    if !terminals::update_enabled(&client, id, enabled).await.map_err(refusal)? {
        return refuse(format!(
            "terminal {id}: unknown; list terminals with `holdfast terminal list`"
        ));
    }
    let value = json!({ "terminal": id.as_str(), "enabled": enabled });
    context.output.print(&value, || match enabled {
        true => format!("terminal {id} is enabled"),
        false => format!(
            "terminal {id} is disabled: its commands are refused with {}; its reservations stay",
            Code::TerminalDisabled
        ),
    })
}
