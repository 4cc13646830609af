//! `holdfast terminal`.

mod snippet;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio_postgres::{Client, Transaction};

use super::context::Context;
use super::exit::{refusal, refuse};
use super::output::{Csv, hint, table, time, yes_or_no};
use super::secret::{NewUrl, UrlFile, new_password, tagged};
use crate::broker::accounts::{Accounts, Found};
use crate::domain::id::{TerminalId, UserId};
use crate::domain::refusal::Code;
use crate::store::admin::servers;
use crate::store::admin::terminals::{self, TerminalAdded, TerminalLine};
use crate::store::admin::worker_accounts;
use crate::store::registry;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a terminal and make its broker account; prints the AMQP URL to use it with
    ///
    /// The URL contains the account's password, which is shown this once, before the account is made: if
    /// it cannot be written, nothing is made. If the command was interrupted before the account was
    /// complete, run it again. `holdfast terminal rotate` makes another password. A small terminal in Python, without
    /// the password, is printed to standard error.
    ///
    /// A terminal whose account is there already, since the database was restored from before it was added, is
    /// registered again: its account keeps its password, and no URL is printed.
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
        #[command(flatten)]
        url_file: UrlFile,
    },
    /// Give a terminal's broker account a new password; prints its AMQP URL
    ///
    /// The old password is invalid from then on. Connections stay, but none can be opened with it.
    Rotate {
        /// The terminal's id
        id: TerminalId,
        #[command(flatten)]
        url_file: UrlFile,
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
        Command::Add { id, user, url_file } => add(context, &id, &user, &url_file).await,
        Command::Rotate { id, url_file } => rotate(context, &id, &url_file).await,
        Command::List { user, csv } => list(context, user, csv).await,
        Command::Disable { id } => set_enabled(context, &id, false).await,
        Command::Enable { id } => set_enabled(context, &id, true).await,
    }
}

async fn add(context: &Context, id: &TerminalId, user: &UserId, url_file: &UrlFile) -> Result<()> {
    let mut client = context.database().await?;
    context.check_owner(&client).await?;
    let accounts = Accounts::new(context.config.management()?, context.config.broker()?)?;
    let account = check_account(context, &client, &accounts, id).await?;
    let server = servers::load_open_server(&client).await?;
    let transaction = client.transaction().await?;
    register(&transaction, id, user, &account).await?;
    if account == Found::Complete {
        return adopt(context, transaction, &accounts, (id, user), url_file).await;
    }
    let password = new_password();
    let about = format!("terminal {id} of user {user}");
    let value = json!({ "terminal": id.as_str(), "user": user.as_str() });
    let new = new_url(context, id, &password, about, value)?;
    let make_valid = async {
        transaction.commit().await?;
        let created = accounts.create_terminal(id, &password).await;
        created.context("terminal is registered but has no complete account")
    };
    url_file.write_first(context.output, new, make_valid).await?;
    if !context.output.json {
        hint!("\n{}", snippet::python(id, server.as_deref()));
    }
    Ok(())
}

/// Registers a terminal whose account is there. Who uses it knows its password.
async fn adopt(
    context: &Context,
    transaction: Transaction<'_>,
    accounts: &Accounts,
    (id, user): (&TerminalId, &UserId),
    url_file: &UrlFile,
) -> Result<()> {
    let rotate = format!("holdfast terminal rotate {id}");
    if url_file.is_wanted() {
        return refuse(format!(
            "terminal {id}: its broker account is there and keeps its password, so there is no URL to write. \
             Leave out --url-file; `{rotate}` makes another password afterwards"
        ));
    }
    transaction.commit().await?;
    let completed = accounts.complete_terminal(id).await;
    completed.context("terminal is registered but has no complete account")?;
    hint!(
        "terminal {id} of user {user} is registered; its broker account was there, and keeps its password. For \
         another one: `{rotate}`"
    );
    match context.output.json {
        true => {
            let value = json!({ "terminal": id.as_str(), "user": user.as_str(), "amqp_url": null });
            context.output.print(&value, String::new)
        }
        false => Ok(()),
    }
}

async fn rotate(context: &Context, id: &TerminalId, url_file: &UrlFile) -> Result<()> {
    let client = context.database().await?;
    context.check_owner(&client).await?;
    if !registry::terminal_exists(&client, id.as_str()).await? {
        return unknown(id);
    }
    let accounts = Accounts::new(context.config.management()?, context.config.broker()?)?;
    let found = check_account(context, &client, &accounts, id).await?;
    // One that is at work on another vhost keeps its password.
    if found != Found::Complete || !accounts.is_terminals(id.as_str()).await? {
        return refuse(format!(
            "terminal {id}: has no complete account on this vhost; make it with `holdfast terminal add`"
        ));
    }
    let password = new_password();
    let value = json!({ "terminal": id.as_str() });
    let new = new_url(context, id, &password, format!("terminal {id}"), value)?;
    url_file.write_first(context.output, new, accounts.set_terminal_password(id, &password)).await
}

fn new_url(
    context: &Context,
    id: &TerminalId,
    password: &str,
    about: String,
    value: Value,
) -> Result<NewUrl> {
    let url = context.config.broker()?.url_for(id.as_str(), password);
    Ok(NewUrl { about, value, key: "amqp_url", url })
}

/// What is under the terminal's name on the broker. Refuses an account that is not a terminal's, or not
/// only.
async fn check_account(
    context: &Context,
    client: &Client,
    accounts: &Accounts,
    id: &TerminalId,
) -> Result<Found> {
    // Workers believe every wake-up from such an account, also from one that is retired.
    if worker_accounts::load(client, id.as_str()).await?.is_some() {
        return refuse(format!("account {id}: is or was a worker's; choose another id"));
    }
    let found = accounts.find(id.as_str()).await?;
    if let Found::Tagged(tags) = &found {
        return refuse(tagged(id.as_str(), tags));
    }
    if id.as_str() == context.config.broker()?.account() {
        return refuse(format!("account {id}: is the one in AMQP_URL; choose another id"));
    }
    // A terminal's account on this vhost that the database does not know: it was restored from before.
    let is_ours = match found {
        Found::Complete => accounts.is_terminals(id.as_str()).await?,
        _ => found == Found::Nothing,
    };
    if !is_ours && !registry::terminal_exists(client, id.as_str()).await? {
        return refuse(format!(
            "account {id}: exists on the broker, and is no terminal's of this installation; choose another id"
        ));
    }
    Ok(found)
}

/// Adds the row. Refuses an existing terminal, unless its `account` is incomplete.
async fn register(
    client: &Transaction<'_>,
    id: &TerminalId,
    user: &UserId,
    account: &Found,
) -> Result<()> {
    match terminals::insert_terminal(client, id, user).await.map_err(refusal)? {
        TerminalAdded::UnknownUser => {
            refuse(format!("user {user}: unknown; list users with `holdfast user list`"))
        }
        TerminalAdded::Taken => {
            refuse(format!("terminal {id}: belongs to another user; choose another id"))
        }
        TerminalAdded::Exists if *account == Found::Complete => refuse(format!(
            "terminal {id}: exists already; make another password with `holdfast terminal rotate {id}`"
        )),
        TerminalAdded::Exists => {
            hint!("completing terminal {id}, which has no complete account yet");
            Ok(())
        }
        TerminalAdded::New => Ok(()),
    }
}

fn unknown<T>(id: &TerminalId) -> Result<T> {
    refuse(format!("terminal {id}: unknown; list terminals with `holdfast terminal list`"))
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
        return unknown(id);
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
