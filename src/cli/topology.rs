//! `holdfast topology`.

mod remove;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::context::Context;
use super::exit::{CliError, refuse};
use crate::broker::delay_probe::{self, Probe};
use crate::broker::ring::{self, PARTITIONS_EXCHANGE};
use crate::broker::{declare, reply_queues};
use crate::message::shape::Shape;
use crate::store::admin::terminals::list_terminals;
use crate::store::registry;

const PARTITIONS_DEFAULT: i32 = 4;
const DELAY_LEVELS_DEFAULT: u32 = 24;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Declare everything on the broker, and record its shape in the database
    ///
    /// Run again, it declares what is missing, including the reply queues of registered terminals, and
    /// replaces the exchange in front of the partitions. The broker returns commands of that moment as
    /// unroutable, and terminals send them again. An installation keeps the shape that was first
    /// applied.
    Apply {
        /// Number of command queues, over which servers are spread; default 4 the first time
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=256))]
        partitions: Option<i32>,
        /// Levels of the delay ladder; default 24 the first time, up to 19 days per hop
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=24))]
        delay_levels: Option<u32>,
    },
    /// Check that everything is declared, and send a message through the delay ladder
    ///
    /// Exits with 3 and names what is missing or does not work.
    Verify,
    /// Delete Holdfast's exchanges and queues from the vhost
    ///
    /// This includes the terminals' reply queues. It refuses if a queue holds messages or has
    /// consumers, unless forced. The database and the broker accounts stay as they are: `topology
    /// apply` declares everything again, and deadlines that passed meanwhile are settled late.
    Remove(remove::Remove),
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Apply { partitions, delay_levels } => {
            apply(context, partitions, delay_levels).await
        }
        Command::Verify => verify(context).await,
        Command::Remove(remove) => remove::run(context, &remove).await,
    }
}

async fn apply(
    context: &Context,
    partitions: Option<i32>,
    delay_levels: Option<u32>,
) -> Result<()> {
    let database = context.database().await?;
    let before = registry::load_topology(&database)
        .await?
        .unwrap_or(Shape { partitions: PARTITIONS_DEFAULT, delay_levels: DELAY_LEVELS_DEFAULT });
    let wanted = Shape {
        partitions: partitions.unwrap_or(before.partitions),
        delay_levels: delay_levels.unwrap_or(before.delay_levels),
    };
    // Connect before recording, to fail early. Declare after recording: an unrecorded partition
    // would keep its commands, since no worker knows it.
    let connection = context.broker("topology").await?;
    let recorded = registry::insert_topology(&database, wanted).await?;
    if recorded != wanted {
        return refuse(format!(
            "this installation has {} partitions and {} delay levels, which cannot change: servers \
             would move between queues and lose their order",
            recorded.partitions, recorded.delay_levels
        ));
    }
    declare::apply(&connection, recorded).await?;
    let terminals = list_terminals(&database, None).await?;
    let terminals: Vec<String> = terminals.into_iter().map(|terminal| terminal.id).collect();
    reply_queues::restore(&connection, &terminals).await?;
    let Shape { partitions, delay_levels } = recorded;
    let value = json!({ "partitions": partitions, "delay_levels": delay_levels });
    context
        .output
        .print(&value, || format!("applied: {partitions} partitions, {delay_levels} delay levels"))
}

async fn verify(context: &Context) -> Result<()> {
    let database = context.database().await?;
    let Some(shape) = registry::load_topology(&database).await? else {
        return Err(CliError::CheckFailed(
            "no topology is recorded; run `holdfast topology apply`".to_owned(),
        )
        .into());
    };
    let connection = context.broker("topology").await?;
    let mut missing = declare::missing(&connection, shape).await?;
    if !ring::exists(&connection).await? {
        missing.push(format!("exchange {PARTITIONS_EXCHANGE}"));
    }
    if !missing.is_empty() {
        context.output.print(&json!({ "missing": missing }), || missing.join("\n"))?;
        let message = format!("missing on the broker: {}", missing.len());
        return Err(CliError::CheckFailed(message).into());
    }
    let took = match delay_probe::send(&connection, shape.delay_levels).await? {
        Probe::Arrived(after) => after.as_millis(),
        Probe::Early { after, due } => {
            let message =
                format!("the delay probe arrived after {after:?}; expected at least {due:?}");
            return Err(CliError::CheckFailed(message).into());
        }
        Probe::Lost => {
            let message = "the delay probe did not arrive in time; check the arguments of the queues \
                           reservation.delay.v1.*. Until the ladder works, the sweep settles \
                           deadlines, late";
            return Err(CliError::CheckFailed(message.to_owned()).into());
        }
    };
    let value = json!({ "missing": missing, "delay_probe_ms": took });
    context.output.print(&value, || format!("complete; the delay probe arrived after {took} ms"))
}
