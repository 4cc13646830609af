//! `holdfast user`: whose quota counts and who is billed.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::Context;
use super::exit::{CliError, refusal};
use crate::domain::id::UserId;
use crate::store::registry;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a user
    Add {
        /// Id: 1 to 64 characters of a-z, 0-9 and '-'
        id: UserId,
        /// Time that may be reserved per quota period; default: the policy's
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(0..))]
        quota_seconds: Option<i64>,
        /// Reservations that may be unreconfirmed at a time; default: the policy's
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        holds_max: Option<i32>,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Add { id, quota_seconds, holds_max } = command;
    let client = context.database().await?;
    let inserted = registry::insert_user(&client, &id, quota_seconds, holds_max).await;
    if !inserted.map_err(refusal)? {
        return Err(CliError::Refused(format!("there is a user {id} already")).into());
    }
    context.output.print(&json!({ "user": id.as_str() }), || format!("added user {id}"))
}
