//! `holdfast server`.

mod add;
mod closure;
mod set;
mod show;
mod values;

use anyhow::Result;
use clap::Subcommand;

use super::context::Context;
use super::history;
use super::output::{Csv, table, yes_or_no};
use crate::domain::id::ServerId;
use crate::domain::money::money;
use crate::store::admin::servers::{self, ServerLine};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a server
    Add(Box<add::Add>),
    /// List the servers
    List(Csv),
    /// Show a server: what it takes and costs, its partition, and the closures ahead
    Show {
        /// The server's id
        id: ServerId,
    },
    /// Show who changed a server, its closures and its partition, and the rate of each tariff version
    History {
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
    /// Move a server's commands to another partition's queue
    ///
    /// While everything runs: nothing is refused, and the order of the server's commands is kept. It
    /// refuses while too many messages wait in the partition that the server leaves.
    Move(add::Move),
    /// Closures: maintenance windows in which a server takes no new reservations
    #[command(subcommand)]
    Closure(closure::Command),
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add(add) => add::run(context, *add).await,
        Command::List(csv) => list(context, csv).await,
        Command::Show { id } => show::run(context, &id).await,
        Command::History { id } => history::server(context, &id).await,
        Command::Set(set) => set::run(context, *set).await,
        Command::Move(wanted) => add::run_move(context, wanted).await,
        Command::Close { id } => show::set_open(context, &id, false).await,
        Command::Open { id } => show::set_open(context, &id, true).await,
        Command::Closure(command) => closure::run(context, command).await,
    }
}

/// The fields of a [`ServerLine`].
const FIELDS: [&str; 12] = [
    "id",
    "open",
    "capacity",
    "rate_minor",
    "currency",
    "lead_seconds",
    "live_reservations",
    "partition",
    "connection_url",
    "view_url",
    "viewers_max",
    "early_seconds",
];

async fn list(context: &Context, csv: Csv) -> Result<()> {
    let client = context.database().await?;
    let servers = servers::list_servers(&client).await?;
    context.output.list(csv, &FIELDS, &servers, || {
        let header = [
            "ID",
            "OPEN",
            "CAPACITY",
            "LIVE",
            "PARTITION",
            "PER HOUR",
            "LEAD SECONDS",
            "CONNECTION",
        ];
        table(&header, &servers.iter().map(row).collect::<Vec<_>>())
    })
}

fn row(server: &ServerLine) -> Vec<String> {
    vec![
        server.id.clone(),
        yes_or_no(server.open),
        server.capacity.to_string(),
        server.live_reservations.to_string(),
        server.partition.to_string(),
        money(server.rate_minor.into(), &server.currency),
        server.lead_seconds.to_string(),
        server.connection_url.clone(),
    ]
}
