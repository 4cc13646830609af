//! `holdfast pause` and `resume`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::context::Context;
use super::exit::{CliError, describe, refuse};
use super::output::{hint, table, time};
use super::why::Why;
use crate::broker::lookup::Lookup;
use crate::broker::topology::partition_queue;
use crate::domain::id::ServerId;
use crate::store::admin::pauses::{self, Pause, Scope};
use crate::store::admin::servers::load_server;
use crate::store::registry::load_topology;

/// How long workers may take to let go: the longest default drain, and two heartbeats.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at them.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(super) struct Selected {
    /// Only this partition [default: all, also those added later]
    #[arg(long, value_name = "N", conflicts_with = "server")]
    partition: Option<i32>,
    /// Only the partition of this server, which other servers may share
    #[arg(long, value_name = "ID")]
    server: Option<ServerId>,
}

#[derive(Args)]
#[command(after_help = "\
Examples: before a biller is repaired, and while one server's commands must wait
  holdfast pause --why 'prices of yesterday are wrong'
  holdfast pause --server gpu-1 --why 'disks are replaced'
  holdfast resume --server gpu-1 --why 'disks are new'")]
pub(super) struct Pausing {
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    why: Why,
}

/// What waits in a partition.
#[derive(Serialize)]
struct Waiting {
    partition: i32,
    /// Commands and wake-ups in its queue; `None` if the broker was not asked.
    messages: Option<u32>,
    /// Unsettled reservations whose deadline has passed.
    overdue: i64,
}

pub(super) async fn pause(context: &Context, args: Pausing) -> Result<()> {
    let database = context.database().await?;
    let (scope, partitions) = resolve(&database, &args.selected).await?;
    args.why.name(&database).await?;
    if !pauses::insert_pause(&database, scope, &args.why.why).await? {
        let found = pauses::load_pauses(&database).await?;
        if let Some(pause) = found.iter().find(|pause| pause.scope == scope) {
            hint!("{}, already", described(pause));
        }
    }
    until_let_go(&database, scope, &partitions).await?;
    let waiting = waiting(context, &database, &partitions).await?;
    let value = json!({ "paused": scope.to_string(), "why": args.why.why, "waiting": waiting });
    context.output.print(&value, || {
        format!(
            "paused {scope}: commands and deadlines wait in their queues, in order. Queries are \
             answered; bills and notices of what is decided go out\n\n{}",
            text(&waiting)
        )
    })
}

pub(super) async fn resume(context: &Context, args: Pausing) -> Result<()> {
    let database = context.database().await?;
    let (scope, partitions) = resolve(&database, &args.selected).await?;
    let waiting = waiting(context, &database, &partitions).await?;
    args.why.name(&database).await?;
    let resumed = pauses::delete_pause(&database, scope).await?;
    let left = pauses::load_pauses(&database).await?;
    if !resumed {
        return not_paused(scope, &left);
    }
    for pause in &left {
        hint!("{}, still", described(pause));
    }
    let value = json!({ "resumed": scope.to_string(), "waiting": waiting, "still_paused": left });
    context.output.print(&value, || {
        format!("resumed {scope}: workers decide what has waited\n\n{}", text(&waiting))
    })
}

fn not_paused(scope: Scope, left: &[Pause]) -> Result<()> {
    let Some(first) = left.first() else {
        return refuse(format!("{scope}: not paused, nor is anything else"));
    };
    let command = resuming(first.scope);
    refuse(format!(
        "{scope}: not paused as such; paused: {}. Undo that with `{command}`",
        left.iter().map(|pause| pause.scope.to_string()).collect::<Vec<_>>().join(", ")
    ))
}

/// The command that ends a pause.
pub(super) fn resuming(scope: Scope) -> String {
    match scope {
        Scope::All => "holdfast resume --why TEXT".to_owned(),
        Scope::Partition(partition) => {
            format!("holdfast resume --partition {partition} --why TEXT")
        }
    }
}

/// Refuses a move out of a paused partition: it would wait for what the partition has to decide first.
pub(super) async fn check_decides(database: &Client, partition: i32) -> Result<()> {
    let paused = pauses::load_pauses(database).await?;
    let paused = paused.iter().find(|pause| pause.scope.covers(partition));
    match paused {
        None => Ok(()),
        Some(pause) => refuse(format!(
            "partition {partition}: {}. A server leaves it once its commands are decided; resume first",
            described(pause)
        )),
    }
}

/// What is paused, by whom, since when and why.
pub(super) fn described(pause: &Pause) -> String {
    let Pause { scope, why, operator, paused_at, .. } = pause;
    let operator = operator.as_deref().unwrap_or("somebody");
    format!("{scope}: paused by {operator} since {} ({why})", time(*paused_at))
}

async fn resolve(database: &Client, selected: &Selected) -> Result<(Scope, Vec<i32>)> {
    let Some(shape) = load_topology(database).await? else {
        return refuse("no topology is recorded; run `holdfast topology apply`");
    };
    let partition = match (&selected.server, selected.partition) {
        (Some(id), _) => match load_server(database, id).await? {
            Some(server) => server.partition,
            None => {
                return refuse(format!(
                    "server {id}: unknown; list servers with `holdfast server list`"
                ));
            }
        },
        (None, Some(partition)) => partition,
        (None, None) => return Ok((Scope::All, (0..shape.partitions).collect())),
    };
    if !(0..shape.partitions).contains(&partition) {
        let last = shape.partitions - 1;
        return refuse(format!("partition {partition}: there is none; they are 0 to {last}"));
    }
    Ok((Scope::Partition(partition), vec![partition]))
}

/// What a worker that counts as dead has in hand may still be committed.
async fn until_let_go(database: &Client, scope: Scope, partitions: &[i32]) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let consuming = pauses::load_consuming(database, partitions).await?;
        let Some(first) = consuming.first() else { return Ok(()) };
        if Instant::now() > until {
            return Err(CliError::NoAnswer(format!(
                "{scope}: recorded as paused, but a worker has not let go after {} s: process {} on host \
                 {:?}, partition {}; look into its log, or stop it",
                PATIENCE.as_secs(),
                first.pid,
                first.host,
                first.partition
            ))
            .into());
        }
        sleep(LOOK_INTERVAL).await;
    }
}

async fn waiting(context: &Context, database: &Client, partitions: &[i32]) -> Result<Vec<Waiting>> {
    let overdue = pauses::count_overdue(database, partitions).await?;
    let messages = match messages(context, database, partitions).await {
        Ok(messages) => messages,
        // A pause must be possible while the broker is away.
        Err(error) => {
            let why = describe(&error).unwrap_or_default();
            hint!("how many commands wait is unknown: {why}");
            vec![None; partitions.len()]
        }
    };
    let counted = partitions.iter().zip(messages).zip(overdue);
    let line = |((partition, messages), overdue): ((&i32, Option<u32>), i64)| Waiting {
        partition: *partition,
        messages,
        overdue,
    };
    Ok(counted.map(line).collect())
}

async fn messages(
    context: &Context,
    database: &Client,
    partitions: &[i32],
) -> Result<Vec<Option<u32>>> {
    let connection = context.own_broker(database, "pause").await?;
    let mut lookup = Lookup::open(&connection).await?;
    let mut messages = Vec::new();
    for partition in partitions {
        let queue = lookup.queue(&partition_queue(*partition)).await?;
        messages.push(queue.map(|queue| queue.messages));
    }
    lookup.close().await?;
    connection.close().await?;
    Ok(messages)
}

fn text(waiting: &[Waiting]) -> String {
    let row = |waiting: &Waiting| {
        let messages = waiting.messages.map_or("-".to_owned(), |messages| messages.to_string());
        vec![waiting.partition.to_string(), messages, waiting.overdue.to_string()]
    };
    let rows: Vec<Vec<String>> = waiting.iter().map(row).collect();
    table(&["PARTITION", "MESSAGES WAIT", "DEADLINES PASSED"], &rows)
}
