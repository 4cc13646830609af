//! `holdfast installation`: which installation a database is.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::exit::refuse;
use super::why::Why;
use crate::store::admin::installation;
use crate::store::admin::status::WorkerLine;
use crate::store::membership::DEAD_AFTER_SECONDS;
use crate::store::registry::load_installation;

/// Most workers that a refusal names.
const NAMED_MAX: usize = 3;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a copy of a database an installation of its own, beside its original
    ///
    /// A copy (a restored backup, a template, a promoted standby) has the id of its original, and the broker's
    /// vhost bears that id: nothing would keep the copy's workers away from the original's commands. This gives
    /// the database at DATABASE_URL a new id. Its workers then refuse the original's vhost, and the original
    /// goes on as it was. Next, give the copy a vhost of its own in AMQP_URL, and run `holdfast topology apply`
    /// and `holdfast terminal add`.
    ///
    /// The copy keeps all else: its workers settle the deadlines that it has, and publish the bills and notices
    /// that wait in it, with the same ids as the original's. Give it a biller of its own, or none.
    ///
    /// Do not run it on a database that replaces its original: that keeps its id, and so its vhost.
    ///
    /// Refuses while workers live; start none before it returns. Nothing on a broker is changed.
    Renew(Renew),
}

#[derive(Args)]
pub(super) struct Renew {
    /// Do it; without this, the id is only shown
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    why: Why,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Renew(args) => renew(context, &args).await,
    }
}

async fn renew(context: &Context, args: &Renew) -> Result<()> {
    let mut database = context.database().await?;
    let id = load_installation(&database).await?;
    let place = context.config.database()?.place();
    if !args.yes {
        context.output.print(&json!({ "installation": id }), || {
            format!("the database at {place} is installation {id}")
        })?;
        return refuse(
            "nothing was changed; if this is a copy that shall live beside its original, add --yes",
        );
    }
    args.why.name(&database).await?;
    match installation::renew(&mut database).await? {
        Err(workers) => refuse(alive(&workers)),
        Ok(renewed) => {
            let value = json!({ "installation": renewed.id, "former": renewed.former });
            context.output.print(&value, || {
                format!(
                    "the database at {place} is now installation {}; it was {}\n\
                     next: give it a vhost of its own in AMQP_URL, and run `holdfast topology apply`",
                    renewed.id, renewed.former
                )
            })
        }
    }
}

fn alive(workers: &[WorkerLine]) -> String {
    let named: Vec<String> = workers
        .iter()
        .take(NAMED_MAX)
        .map(|worker| format!("process {} on host {:?}", worker.pid, worker.host))
        .collect();
    format!(
        "workers live: {}, the first {}. Stop the workers of this database, and run the command again. In a \
         copy that was made just now they may be the original's, and count as gone after {DEAD_AFTER_SECONDS} s",
        workers.len(),
        named.join(", ")
    )
}
