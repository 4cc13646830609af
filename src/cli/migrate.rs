//! `holdfast migrate`.

use anyhow::Result;
use serde_json::json;

use super::context::Context;
use super::exit::CliError;
use crate::store::migrations;
use crate::store::url::DatabaseUrl;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Change nothing; print the steps that are missing, and exit with 3 if there are any
    ///
    /// Also exits with 3 if zone rules or collations have changed under the data.
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<()> {
    let url = context.config.database()?;
    if args.check {
        return check(context, url).await;
    }
    let applied = migrations::migrate(url).await?;
    context.output.print(&json!({ "applied": applied }), || match applied.is_empty() {
        true => "the schema is up to date".to_owned(),
        false => applied.join("\n"),
    })
}

async fn check(context: &Context, url: &DatabaseUrl) -> Result<()> {
    let pending = migrations::pending(url).await?;
    context.output.print(&json!({ "pending": pending }), || match pending.is_empty() {
        true => "the schema is up to date".to_owned(),
        false => pending.join("\n"),
    })?;
    match pending.len() {
        0 => check_outside(url).await,
        count => Err(CliError::CheckFailed(format!("missing steps: {count}")).into()),
    }
}

async fn check_outside(url: &DatabaseUrl) -> Result<()> {
    let changes = migrations::outside_changes(url).await?;
    if changes.is_empty() {
        return Ok(());
    }
    Err(CliError::CheckFailed(changes.join("\n")).into())
}
