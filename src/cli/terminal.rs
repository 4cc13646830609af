//! `holdfast terminal`: broker accounts that users send commands with.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::exit::{CliError, refusal};
use crate::broker::accounts::{Accounts, Found};
use crate::domain::id::{TerminalId, UserId};
use crate::store::registry::{self, TerminalAdded};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Register a terminal and make its broker account; prints the AMQP URL to use it with
    ///
    /// The URL contains the account's password, which is shown this once. If the command was
    /// interrupted before the account was complete, run it again.
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
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Add { id, user } = command;
    let broker = context.config.broker()?;
    if id.as_str() == broker.account() {
        // Whatever the workers' account sends is believed.
        return refused(format!("{id} is the account of the workers"));
    }
    let accounts = Accounts::new(context.config.management_url()?, broker)?;
    let client = context.database().await?;
    let account = accounts.find(id.as_str()).await?;
    if account != Found::Nothing && !registry::terminal_exists(&client, id.as_str()).await? {
        return refused(format!("the broker has an account {id} that is no terminal's"));
    }
    match registry::insert_terminal(&client, &id, &user).await.map_err(refusal)? {
        TerminalAdded::UnknownUser => return refused(format!("there is no user {user}")),
        TerminalAdded::Taken => return refused(format!("terminal {id} is another user's")),
        TerminalAdded::Exists if account == Found::Complete => {
            return refused(format!(
                "there is a terminal {id} already; for a new password delete its broker account \
                 and run this again"
            ));
        }
        TerminalAdded::Exists => {
            eprintln!("completing terminal {id}, which has no complete account yet")
        }
        TerminalAdded::New => {}
    }
    let password = accounts
        .create_terminal(&id)
        .await
        .context("terminal is registered but has no complete account")?;
    let url = broker.url_for(id.as_str(), &password);
    eprintln!("terminal {id} of user {user}; its AMQP URL, with the password, is shown this once:");
    let value = json!({ "terminal": id.as_str(), "user": user.as_str(), "amqp_url": url });
    context.output.print(&value, || url.clone())
}

fn refused(message: String) -> Result<()> {
    Err(CliError::Refused(message).into())
}
