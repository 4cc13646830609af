//! `holdfast topology`: declare, verify and remove what is on the broker.

mod account;
mod remove;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::Context;
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
    /// Doing so again completes what is missing, and makes the way to the partitions anew: commands of
    /// that moment are returned as unroutable, and sent again by their terminals. The shape of an installation
    /// stays as it was first applied: without flags, that is what is declared again. The queues of
    /// answers of the registered terminals are restored too.
    Apply {
        /// Number of command queues, over which servers are spread; default 4
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=256))]
        partitions: Option<i32>,
        /// Levels of the delay ladder; default 24, which reaches 19 days in one go
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=24))]
        delay_levels: Option<u32>,
    },
    /// Check that everything is there, and send a message through the delay ladder
    ///
    /// Exits with 3 and names what is missing or does not work.
    Verify,
    /// Make a broker account for the workers, which can do what that takes and nothing else; prints
    /// its AMQP URL
    ///
    /// It publishes answers, events, wake-ups and dead letters, and consumes the partitions; it
    /// declares nothing but the way to them, which a restart of the broker takes away. The name has an underscore, which no terminal's id can have.
    /// All workers use the same account. The URL contains the account's password, which is shown
    /// this once; for a new one delete the broker account and run this again.
    #[command(after_help = "\
Example:
  holdfast topology account holdfast_worker")]
    Account {
        /// Name: 1 to 63 characters of a-z, 0-9 and '_', a letter first, with an underscore
        #[arg(value_parser = account::name)]
        name: String,
    },
    /// Delete Holdfast's exchanges and queues from the vhost
    ///
    /// The terminals' queues of answers are among them. Refuses if a queue holds messages or has
    /// consumers, unless forced. The database stays as it is, the shape included, and so do broker
    /// accounts: `topology apply` brings all of it back, and deadlines are then settled late.
    Remove(remove::Remove),
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Apply { partitions, delay_levels } => {
            apply(context, partitions, delay_levels).await
        }
        Command::Verify => verify(context).await,
        Command::Account { name } => account::run(context, &name).await,
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
    // The broker before the record, to learn early that it is away; declared after it, since a
    // partition that workers do not know of would swallow commands.
    let connection = context.broker("topology").await?;
    let recorded = registry::insert_topology(&database, wanted).await?;
    if recorded != wanted {
        return refuse(format!(
            "this installation has {} partitions and {} delay levels, which cannot change while \
             it is running: servers would move between queues and lose their order",
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
                format!("the delay ladder is early: {after:?} instead of at least {due:?}");
            return Err(CliError::CheckFailed(message).into());
        }
        Probe::Lost => {
            let message = "no message came through the delay ladder in time; check the arguments of \
                           its queues (reservation.delay.v1.*). Until it works, deadlines are \
                           settled late, by the sweep";
            return Err(CliError::CheckFailed(message.to_owned()).into());
        }
    };
    let value = json!({ "missing": missing, "delay_probe_ms": took });
    context.output.print(&value, || format!("complete; the delay probe arrived after {took} ms"))
}
