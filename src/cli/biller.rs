//! `holdfast biller`: broker accounts that billing systems read with.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::exit::refuse;
use crate::broker::accounts::{Accounts, Found, biller_account};
use crate::broker::topology::BILLING_QUEUE;
use crate::domain::id::TerminalId;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a broker account that reads the billing queue and can do nothing else; prints its AMQP
    /// URL
    ///
    /// The account is named `biller_NAME`: with an underscore, which no terminal's id can have. It
    /// may take messages off the queue `billing.entries.v1`. The URL contains the account's
    /// password, which is shown this once; for a new one delete the broker account and run this
    /// again.
    #[command(after_help = "\
Example: the account biller_acme
  holdfast biller add acme")]
    Add {
        /// Name: 1 to 64 characters of a-z, 0-9 and '-'
        #[arg(value_parser = name)]
        name: String,
    },
}

/// Nothing that would have to be quoted in a URL or a shell; the form that all ids have.
fn name(text: &str) -> Result<String, String> {
    match TerminalId::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a name is 1 to 64 characters of a-z, 0-9 and '-'".to_owned()),
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Add { name } = command;
    let broker = context.config.broker()?;
    let account = biller_account(&name);
    if account == broker.account() {
        return refuse(format!("{account} is the account of the workers"));
    }
    let accounts = Accounts::new(context.config.management()?, broker)?;
    match accounts.find(&account).await? {
        Found::Complete => {
            return refuse(format!(
                "the broker has an account {account} already; for a new password delete it and \
                 run this again, or choose another name"
            ));
        }
        Found::HalfMade => eprintln!("completing account {account}, which has no rights yet"),
        Found::Nothing => {}
    }
    let password = accounts.create_biller(&account).await?;
    let url = broker.url_for(&account, &password);
    eprintln!(
        "account {account} for {BILLING_QUEUE}; its AMQP URL, with the password, is shown this \
         once:"
    );
    let value = json!({ "account": account, "queue": BILLING_QUEUE, "amqp_url": url });
    context.output.print(&value, || url.clone())
}
