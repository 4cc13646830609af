//! `holdfast reservation access`.

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::words::{note, operator, unknown};
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::domain::input::Rotation;
use crate::domain::outcome::NotRotated;
use crate::engine::rotate_key;
use crate::store::access::has_secrets;
use crate::store::pool;

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Replace the access key of a confirmed reservation, because somebody else may have it
    ///
    /// The old key is dead at once: gates end the session that uses it. Its terminal gets another notice of the
    /// confirmation, with the new key, which a worker derives. One that was confirmed before there were keys
    /// gets its first one. The history names the --operator.
    Rotate {
        /// The reservation's id
        id: Uuid,
        /// Why; goes into the history
        #[arg(long, value_name = "TEXT", value_parser = note)]
        reason: String,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Rotate { id, reason } = command;
    let operator = operator(context)?;
    if !has_secrets(&context.database().await?).await? {
        return refuse(
            "no worker has started with a secret to derive keys of; set HOLDFAST_ACCESS_SECRET_FILE for all of \
             them and start them again",
        );
    }
    let settings = pool::settings(context.config.database()?);
    let request = Rotation { reservation: id, id: Uuid::new_v4(), operator, note: reason };
    let reservation = match rotate_key(&pool::open(settings, 1), request).await? {
        Ok(reservation) => reservation,
        Err(NotRotated::Unknown) => return unknown(id),
        Err(NotRotated::State(state)) => {
            return refuse(format!("reservation {id}: is {state}; only a confirmed one has a key"));
        }
        Err(NotRotated::Over) => {
            return refuse(format!("reservation {id}: is over, and lets nobody in any more"));
        }
    };
    let terminal = reservation.terminal.as_str();
    context.output.print(&json!({ "reservation": id, "terminal": terminal }), || {
        format!(
            "rotated the access key of {id}; terminal {terminal} gets a notice with the new one"
        )
    })
}
