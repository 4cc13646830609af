//! `holdfast topology apply`.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tokio_postgres::Client;

use super::owner::{self, TakenOver};
use super::policies::{REMEDY, lines, policies, terminal_ids};
use super::routes::{found_routes, wanted_routes};
use crate::broker::connection::Connection;
use crate::broker::policies::{Deviation, Protection};
use crate::broker::routes::{self, Difference};
use crate::broker::{declare, removal, reply_queues, retired};
use crate::cli::context::Context;
use crate::cli::exit::{CliError, refuse};
use crate::cli::moves;
use crate::cli::output::time;
use crate::cli::range::within;
use crate::domain::bounds;
use crate::engine::moves::advance;
use crate::message::shape::Shape;
use crate::store::admin::moves::list_moves;
use crate::store::admin::topology::{PartitionLine, list_partitions, update_partitions};
use crate::store::registry;

const PARTITIONS_DEFAULT: i32 = 4;
const DELAY_LEVELS_DEFAULT: u32 = 24;

#[derive(Args)]
pub(in crate::cli) struct Apply {
    /// Number of command queues, over which servers are spread; default 4 the first time
    ///
    /// May grow while everything runs; `topology rebalance` then fills the new ones. It may shrink once
    /// the last ones are empty: `topology rebalance --partitions N` empties them.
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::PARTITIONS))]
    partitions: Option<i32>,
    /// Levels of the delay ladder; default 24 the first time, up to 19 days per hop
    #[arg(long, value_name = "N", value_parser = within::<u32>(bounds::DELAY_LEVELS))]
    delay_levels: Option<u32>,
    /// Take a vhost over that belongs to another installation, which must be gone for good
    ///
    /// Its workers must be stopped. What waits in its queues is decided by this installation: commands of
    /// terminals that this database does not know are answered with `unknown_terminal` and become dead
    /// letters, and its deadlines settle nothing here.
    #[arg(long)]
    take_over: bool,
}

/// What was done, for programs.
#[derive(Serialize)]
struct Applied {
    partitions: i32,
    delay_levels: u32,
    servers: usize,
    bound: usize,
    unbound: usize,
    removed: Vec<String>,
    kept: Vec<String>,
    taken_over: Option<TakenOver>,
    /// `None` without the management API.
    policies: Option<Compared>,
}

#[derive(Serialize)]
struct Compared {
    /// Whether our policy is set.
    protected: bool,
    deviations: Vec<Deviation>,
}

pub(super) async fn run(context: &Context, apply: &Apply) -> Result<()> {
    let database = context.database().await?;
    // Connect before recording, to fail early.
    let connection = context.broker("topology").await?;
    // Before anything else is declared, and before the database says that it is.
    let taken_over = owner::claim(context, &database, &connection, apply.take_over).await?;
    moves::lock(&database).await?;
    let before = registry::load_topology(&database)
        .await?
        .unwrap_or(Shape { partitions: PARTITIONS_DEFAULT, delay_levels: DELAY_LEVELS_DEFAULT });
    let wanted = Shape {
        partitions: apply.partitions.unwrap_or(before.partitions),
        delay_levels: apply.delay_levels.unwrap_or(before.delay_levels),
    };
    let recorded = registry::insert_topology(&database, wanted).await?;
    if recorded.delay_levels != wanted.delay_levels {
        return refuse(format!(
            "--delay-levels {}: this installation has {} levels, which cannot change: wake-ups are on \
             their way through them",
            wanted.delay_levels, recorded.delay_levels
        ));
    }
    // What an earlier command left. Workers end it, now or when they start.
    advance(&database, &connection).await?;
    if wanted.partitions < recorded.partitions {
        shrink(&database, &connection, recorded, wanted).await?;
    }
    declare::apply(&connection, wanted).await?;
    if wanted.partitions > recorded.partitions {
        // Workers look for the queues of all recorded partitions.
        update_partitions(&database, wanted.partitions).await?;
    }
    let difference = bind(context, &database, &connection).await?;
    let retired = retired::remove(&connection, wanted.partitions).await?;
    let terminals = terminal_ids(&database).await?;
    reply_queues::restore(&connection, &terminals).await?;
    let policies = protect(context, wanted, &terminals).await?;
    let applied = Applied {
        partitions: wanted.partitions,
        delay_levels: wanted.delay_levels,
        servers: wanted_routes(&database).await?.len(),
        bound: difference.missing.len(),
        unbound: difference.surplus.len(),
        removed: retired.removed,
        kept: retired.kept,
        taken_over,
        policies,
    };
    context.output.print(&applied, || text(&applied))?;
    match &applied.policies {
        Some(Compared { deviations, .. }) if !deviations.is_empty() => {
            let message = format!(
                "everything is declared, but policies change what {} queues and exchanges do; {REMEDY}",
                deviations.len()
            );
            Err(CliError::CheckFailed(message).into())
        }
        _ => Ok(()),
    }
}

/// Sets our policy if the account may, and looks for what others change all the same.
async fn protect(
    context: &Context,
    shape: Shape,
    terminals: &[String],
) -> Result<Option<Compared>> {
    let Some(policies) = policies(context)? else { return Ok(None) };
    let protected = policies.protect().await? == Protection::Set;
    let deviations = policies.settled_deviations(shape, terminals).await?;
    Ok(Some(Compared { protected, deviations }))
}

/// Binds what is missing first: for a moment commands go to two queues, and the wrong one refuses them.
async fn bind(context: &Context, database: &Client, connection: &Connection) -> Result<Difference> {
    let wanted = wanted_routes(database).await?;
    let difference = match found_routes(context).await? {
        Some(found) => Difference::between(&wanted, &found),
        None => Difference { missing: wanted, surplus: Vec::new() },
    };
    routes::bind(connection, &difference.missing).await?;
    routes::unbind(connection, &difference.surplus).await?;
    Ok(difference)
}

/// Removes the last partitions, if nothing depends on them any more.
async fn shrink(
    database: &Client,
    connection: &Connection,
    before: Shape,
    after: Shape,
) -> Result<()> {
    if let Some(open) = list_moves(database).await?.first() {
        return refuse(format!(
            "server {}: is on its way to partition {}; apply again when it has arrived",
            open.server, open.to
        ));
    }
    let partitions = list_partitions(database).await?;
    let gone = || partitions.iter().filter(|line| line.partition >= after.partitions);
    if let Some(used) = gone().find(|line| line.servers > 0) {
        return refuse(format!(
            "partition {}: has {} servers; move them with `holdfast topology rebalance --partitions {}`",
            used.partition, used.servers, after.partitions
        ));
    }
    let last = gone().filter_map(|line: &PartitionLine| line.last_wake_up_at).max();
    if let Some(at) = last {
        return refuse(format!(
            "partitions from {} on: wake-ups are on their way to them, the last until {}; apply again then",
            after.partitions,
            time(at)
        ));
    }
    // Workers leave them with their next heartbeat; messages that wait are still theirs.
    removal::check_partitions_empty(connection, after.partitions..before.partitions)
        .await?
        .map_or(Ok(()), |queue| {
            refuse(format!("queue {queue}: messages wait; apply again later"))
        })?;
    update_partitions(database, after.partitions).await?;
    removal::remove_partitions(connection, after.partitions..before.partitions).await?;
    Ok(())
}

fn text(applied: &Applied) -> String {
    let Applied { partitions, delay_levels, servers, bound, unbound, removed, kept, .. } = applied;
    let mut lines: Vec<String> = applied.taken_over.iter().map(TakenOver::text).collect();
    lines.push(format!("applied: {partitions} partitions, {delay_levels} delay levels"));
    if *servers > 0 || *unbound > 0 {
        lines.push(format!("servers: {servers}, bound {bound}, unbound {unbound}"));
    }
    lines.extend(removed.iter().map(|name| format!("removed, of a former version: {name}")));
    lines.extend(
        kept.iter().map(|name| format!("kept, of a former version, because it is in use: {name}")),
    );
    if let Some(Compared { protected, deviations }) = &applied.policies {
        if !protected {
            lines.push(
                "the policy holdfast, which keeps off others, was not set: the account of the management \
                 API may not set policies (tag policymaker)"
                    .to_owned(),
            );
        }
        lines.extend(self::lines(deviations));
    }
    lines.join("\n")
}
