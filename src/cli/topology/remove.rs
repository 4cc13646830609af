//! `holdfast topology remove`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::policies::policies;
use crate::broker::removal::{self, Found, FoundQueue};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, refuse};
use crate::store::admin::terminals::list_terminals;
use crate::store::registry::{load_installation, load_topology};

#[derive(Args)]
pub(in crate::cli) struct Remove {
    /// Do it; without this, what would be removed is only listed
    #[arg(long)]
    yes: bool,
    /// Also when queues hold messages, which are lost, or have consumers
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(context: &Context, remove: &Remove) -> Result<()> {
    let database = context.database().await?;
    let Some(shape) = load_topology(&database).await? else {
        return refuse("no topology is recorded, so there is nothing to remove");
    };
    let terminals = list_terminals(&database, None).await?;
    let terminals: Vec<String> = terminals.into_iter().map(|terminal| terminal.id).collect();
    let connection = context.own_broker(&database, "topology").await?;
    let found =
        removal::find(&connection, load_installation(&database).await?, shape, &terminals).await?;
    let in_use: Vec<&FoundQueue> =
        found.queues.iter().filter(|queue| queue.messages > 0 || queue.consumers > 0).collect();
    if !in_use.is_empty() && !remove.force {
        return still_in_use(context, &in_use);
    }
    let names = names(&found);
    if !remove.yes {
        context.output.print(&json!({ "would_remove": names }), || names.join("\n"))?;
        return refuse(format!(
            "nothing was removed; to remove these {} things, add --yes",
            names.len()
        ));
    }
    removal::remove(&connection, &found).await?;
    if let Some(policies) = policies(context)? {
        policies.unprotect().await?;
    }
    context.output.print(&json!({ "removed": names }), || match names.is_empty() {
        true => "there was nothing to remove".to_owned(),
        false => format!("removed:\n{}", names.join("\n")),
    })
}

fn names(found: &Found) -> Vec<String> {
    let exchanges = found.exchanges.iter().map(|name| format!("exchange {name}"));
    exchanges.chain(found.queues.iter().map(|queue| format!("queue {}", queue.name))).collect()
}

fn still_in_use(context: &Context, in_use: &[&FoundQueue]) -> Result<()> {
    let described: Vec<_> = in_use
        .iter()
        .map(|FoundQueue { name, messages, consumers }| {
            json!({ "queue": name, "messages": messages, "consumers": consumers })
        })
        .collect();
    context.output.print(&json!({ "in_use": described }), || {
        let line = |queue: &&FoundQueue| {
            let FoundQueue { name, messages, consumers } = queue;
            format!("queue {name}: messages {messages}, consumers {consumers}")
        };
        in_use.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    let message = "these queues are in use, and nothing was removed; stop the workers, terminals \
                   and billers and let the queues run empty, or lose their messages with --force";
    Err(CliError::Refused(message.to_owned()).into())
}
