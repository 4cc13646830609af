//! `holdfast role`: accounts of the database.

use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use url::Url;

use super::Context;
use super::exit::refuse;
use crate::store::admin::roles::{self, Kind};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a PostgreSQL account that can do what its work takes and nothing else; prints its URL
    ///
    /// Run it with the account that migrates, which needs CREATEROLE. A worker changes neither
    /// tables nor policy, and only adds to history and bills. A billing account reads bills. The
    /// URL contains the account's password, which is shown this once.
    #[command(after_help = "\
Example: an account for the workers
  holdfast role add worker holdfast_worker")]
    Add {
        /// What it is for
        kind: For,
        /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first
        #[arg(value_parser = name)]
        name: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum For {
    Worker,
    Billing,
}

fn name(text: &str) -> Result<String, String> {
    if roles::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a name is 1 to 63 characters of a-z, 0-9 and '_', a letter first".to_owned())
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Add { kind, name } = command;
    let kind = match kind {
        For::Worker => Kind::Worker,
        For::Billing => Kind::Billing,
    };
    let mut client = context.database().await?;
    let Some(password) = roles::create(&mut client, &name, kind).await? else {
        return refuse(format!("the database server has an account {name} already"));
    };
    let url = url_for(context.config.database_url()?, &name, &password)?;
    eprintln!("account {name}; its URL, with the password, is shown this once:");
    let value = json!({ "account": name, "kind": kind.as_str(), "database_url": url });
    context.output.print(&value, || url.clone())
}

/// The URL of another account, with the same options.
fn url_for(url: &str, account: &str, password: &str) -> Result<String> {
    let mut url = Url::parse(url).context("the database URL")?;
    url.set_username(account).ok();
    url.set_password(Some(password)).ok();
    Ok(url.to_string())
}
