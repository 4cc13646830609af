//! `holdfast server add` and `holdfast server move`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::values::{connection_url, currency, unknown, view_url};
use crate::broker::routes::{self, Route};
use crate::cli::context::Context;
use crate::cli::exit::{refusal, refuse};
use crate::cli::moves::{self, Wanted, carry, check_size};
use crate::cli::range::within;
use crate::domain::bounds;
use crate::domain::id::ServerId;
use crate::domain::server::LateBooking;
use crate::store::admin::servers::{self, NewServer};
use crate::store::registry::load_topology;

#[derive(Args)]
#[command(after_help = "\
Example: four reservations at a time, 12.50 EUR an hour, to be reconfirmed a day ahead
  holdfast server add gpu-1 --capacity 4 --rate-minor 1250 --currency EUR \\
      --lead-seconds 86400 --connection-url https://gpu-1.example/")]
pub(in crate::cli) struct Add {
    /// Id: 1 to 64 characters of a-z, 0-9 and '-'
    id: ServerId,
    /// Simultaneous reservations
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::CAPACITY))]
    capacity: i32,
    /// Price of an hour, in integer minor units (cents)
    #[arg(long, value_name = "N", value_parser = within::<i64>(bounds::RATE_MINOR))]
    rate_minor: i64,
    /// Currency of the price, ISO 4217
    #[arg(long, value_name = "CODE", value_parser = currency)]
    currency: String,
    /// Where a confirmed reservation is served; told to the terminal when it is confirmed. In it, {key}
    /// stands for the reservation's access key and {reservation} for its id
    #[arg(long, value_name = "URL", value_parser = connection_url)]
    connection_url: String,
    /// Where others watch, told beside it; {reservation} in it stands for the reservation's id
    #[arg(long, value_name = "URL", value_parser = view_url)]
    view_url: Option<String>,
    /// Most viewers of a reservation at a time, for gates; default: no limit
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::VIEWERS))]
    viewers_max: Option<i32>,
    /// How long before its start gates admit a reservation, if its place is free
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = within::<i32>(bounds::EARLY_SECONDS))]
    early_seconds: i32,
    /// Grid on which reservations start and end, counted from the Unix epoch
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = within::<i32>(bounds::SLOT_SECONDS))]
    slot_seconds: i32,
    /// Shortest reservation
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = within::<i32>(bounds::LENGTH_SECONDS))]
    min_seconds: i32,
    /// Longest reservation
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = within::<i32>(bounds::LENGTH_SECONDS))]
    max_seconds: i32,
    /// Turn-around time kept free behind each reservation
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = within::<i32>(bounds::GAP_SECONDS))]
    gap_seconds: i32,
    /// How long before the start the deadline for the reconfirmation lies
    #[arg(long, value_name = "SECONDS", default_value_t = 21_600, value_parser = within::<i32>(bounds::LEAD_SECONDS))]
    lead_seconds: i32,
    /// How long before the deadline a terminal is reminded to reconfirm; 0 = never
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = within::<i32>(bounds::REMINDER_SECONDS))]
    reminder_seconds: i32,
    /// How far ahead a reservation may start
    #[arg(long, value_name = "SECONDS", default_value_t = 7_776_000, value_parser = within::<i32>(bounds::HORIZON_SECONDS))]
    horizon_seconds: i32,
    /// What becomes of a request whose deadline has already passed
    #[arg(long, value_name = "WHAT", default_value = "reject")]
    late_booking: LateBooking,
    /// Which queue takes its commands; default: that of the partition with the fewest servers
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::PARTITION))]
    partition: Option<i32>,
}

/// Binds first and commits then: an interrupted one leaves a binding that leads to no known server, and
/// that the next `topology apply` removes.
pub(super) async fn run(context: &Context, add: Add) -> Result<()> {
    if add.min_seconds > add.max_seconds {
        return refuse("--max-seconds is below --min-seconds");
    }
    let mut client = context.database().await?;
    let connection = context.own_broker(&client, "server").await?;
    moves::lock(&client).await?;
    check_partition(&client, add.partition).await?;
    let server = new_server(add);
    let id = &server.id;
    let transaction = client.transaction().await?;
    let Some(partition) = servers::insert_server(&transaction, &server).await.map_err(refusal)?
    else {
        return refuse(format!(
            "server {id}: exists already; change it with `holdfast server set`"
        ));
    };
    let route = Route { server: id.to_string(), partition };
    routes::bind(&connection, &[route]).await?;
    transaction.commit().await?;
    context.output.print(&json!({ "server": id.as_str(), "partition": partition }), || {
        format!("added server {id} to partition {partition}")
    })
}

async fn check_partition(client: &tokio_postgres::Client, wanted: Option<i32>) -> Result<()> {
    let Some(shape) = load_topology(client).await? else {
        return refuse("no topology is recorded; run `holdfast topology apply` first");
    };
    match wanted {
        Some(wanted) if wanted >= shape.partitions => refuse(format!(
            "partition {wanted}: unknown; there are {}, numbered from 0",
            shape.partitions
        )),
        _ => Ok(()),
    }
}

fn new_server(add: Add) -> NewServer {
    NewServer {
        id: add.id,
        capacity: add.capacity,
        rate_minor: add.rate_minor,
        currency: add.currency,
        slot_seconds: add.slot_seconds,
        min_seconds: add.min_seconds,
        max_seconds: add.max_seconds,
        gap_seconds: add.gap_seconds,
        lead_seconds: add.lead_seconds,
        reminder_seconds: add.reminder_seconds,
        horizon_seconds: add.horizon_seconds,
        late_booking: add.late_booking,
        connection_url: add.connection_url,
        view_url: add.view_url,
        viewers_max: add.viewers_max,
        early_seconds: add.early_seconds,
        partition: add.partition,
    }
}

#[derive(Args)]
pub(in crate::cli) struct Move {
    /// The server's id
    id: ServerId,
    /// The partition that it goes to
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::PARTITION))]
    partition: i32,
}

pub(super) async fn run_move(context: &Context, wanted: Move) -> Result<()> {
    let client = context.database().await?;
    let Move { id, partition: to } = wanted;
    let connection = context.own_broker(&client, "server").await?;
    moves::lock(&client).await?;
    check_partition(&client, Some(to)).await?;
    // Perhaps an earlier command left this very move.
    moves::finish_open(&client, &connection).await?;
    let Some(server) = servers::load_server(&client, &id).await? else {
        return unknown(&id);
    };
    let from = server.partition;
    if from != to {
        check_size(&id, servers::count_unsettled(&client, &id).await?)?;
        let wanted = [Wanted { server: id.clone(), from, to }];
        carry(&client, &connection, &wanted, |_| {}).await?;
    }
    let value = json!({ "server": id.as_str(), "from": from, "partition": to });
    context.output.print(&value, || match from == to {
        true => format!("server {id} is in partition {to} already"),
        false => format!("moved server {id} from partition {from} to {to}"),
    })
}
