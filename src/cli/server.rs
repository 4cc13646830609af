//! `holdfast server`.

mod closure;
mod set;
mod show;
mod values;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::context::Context;
use super::exit::{refusal, refuse};
use super::output::{table, yes_or_no};
use crate::domain::id::ServerId;
use crate::domain::server::LateBooking;
use crate::store::admin::servers::{self, NewServer, ServerLine};
use values::{capacity, connection_url, currency, rate_minor, seconds};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a server
    Add(Box<Add>),
    /// List the servers
    List,
    /// Show a server: what it takes and costs, its partition, and the closures ahead
    Show {
        /// The server's id
        id: ServerId,
    },
    /// Change what is set for a server
    ///
    /// Affects new requests only: a reservation keeps its time, deadline and price. A capacity below
    /// what is booked is refused, and the reservations in the way are listed. Another rate or
    /// currency raises the tariff version by one.
    Set(Box<set::Set>),
    /// Take no new requests for a server
    ///
    /// Affects new requests only, which are refused with `server_closed`. Reservations can still be
    /// reconfirmed and withdrawn, and are settled at their deadlines.
    Close {
        /// The server's id
        id: ServerId,
    },
    /// Take new requests for a server again
    Open {
        /// The server's id
        id: ServerId,
    },
    /// Closures: maintenance windows in which a server takes no new reservations
    #[command(subcommand)]
    Closure(closure::Command),
}

#[derive(Args)]
#[command(after_help = "\
Example: four reservations at a time, 12.50 EUR an hour, to be reconfirmed a day ahead
  holdfast server add gpu-1 --capacity 4 --rate-minor 1250 --currency EUR \\
      --lead-seconds 86400 --connection-url https://gpu-1.example/")]
pub(super) struct Add {
    /// Id: 1 to 64 characters of a-z, 0-9 and '-'
    id: ServerId,
    /// Simultaneous reservations
    #[arg(long, value_name = "N", value_parser = capacity())]
    capacity: i32,
    /// Price of an hour, in integer minor units (cents)
    #[arg(long, value_name = "N", value_parser = rate_minor())]
    rate_minor: i64,
    /// Currency of the price, ISO 4217
    #[arg(long, value_name = "CODE", value_parser = currency)]
    currency: String,
    /// Where a confirmed reservation is served; told to the terminal when it is confirmed
    #[arg(long, value_name = "URL", value_parser = connection_url)]
    connection_url: String,
    /// Grid on which reservations start and end, counted from the Unix epoch
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds(1, 86_400))]
    slot_seconds: i32,
    /// Shortest reservation
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = seconds(1, 2_678_400))]
    min_seconds: i32,
    /// Longest reservation
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = seconds(1, 2_678_400))]
    max_seconds: i32,
    /// Turn-around time kept free behind each reservation
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = seconds(0, 86_400))]
    gap_seconds: i32,
    /// How long before the start the deadline for the reconfirmation lies
    #[arg(long, value_name = "SECONDS", default_value_t = 21_600, value_parser = seconds(0, 31_536_000))]
    lead_seconds: i32,
    /// How long before the deadline a terminal is reminded to reconfirm; 0 = never
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = seconds(0, 31_536_000))]
    reminder_seconds: i32,
    /// How far ahead a reservation may start
    #[arg(long, value_name = "SECONDS", default_value_t = 7_776_000, value_parser = seconds(1, 63_072_000))]
    horizon_seconds: i32,
    /// What becomes of a request whose deadline has already passed
    #[arg(long, value_name = "WHAT", default_value = "reject")]
    late_booking: LateBooking,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add(add) => run_add(context, *add).await,
        Command::List => list(context).await,
        Command::Show { id } => show::run(context, &id).await,
        Command::Set(set) => set::run(context, *set).await,
        Command::Close { id } => show::set_open(context, &id, false).await,
        Command::Open { id } => show::set_open(context, &id, true).await,
        Command::Closure(command) => closure::run(context, command).await,
    }
}

async fn run_add(context: &Context, add: Add) -> Result<()> {
    if add.min_seconds > add.max_seconds {
        return refuse("--max-seconds is below --min-seconds");
    }
    let server = NewServer {
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
    };
    let client = context.database().await?;
    let id = &server.id;
    if !servers::insert_server(&client, &server).await.map_err(refusal)? {
        return refuse(format!(
            "server {id}: exists already; change it with `holdfast server set`"
        ));
    }
    context.output.print(&json!({ "server": id.as_str() }), || format!("added server {id}"))
}

async fn list(context: &Context) -> Result<()> {
    let client = context.database().await?;
    let servers = servers::list_servers(&client).await?;
    context.output.print(&servers, || {
        let header = ["ID", "OPEN", "CAPACITY", "LIVE", "MINOR/HOUR", "LEAD SECONDS", "CONNECTION"];
        table(&header, &servers.iter().map(row).collect::<Vec<_>>())
    })
}

fn row(server: &ServerLine) -> Vec<String> {
    vec![
        server.id.clone(),
        yes_or_no(server.open),
        server.capacity.to_string(),
        server.live_reservations.to_string(),
        format!("{} {}", server.rate_minor, server.currency),
        server.lead_seconds.to_string(),
        server.connection_url.clone(),
    ]
}
