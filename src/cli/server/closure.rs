//! `holdfast server closure`.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::values::unknown;
use crate::cli::context::Context;
use crate::cli::exit::{refusal, refuse};
use crate::cli::output::{Csv, table, time};
use crate::cli::when::When;
use crate::domain::id::ServerId;
use crate::domain::interval::Interval;
use crate::domain::refusal::Code;
use crate::store::admin::closures::{self, Closure, Touched};
use crate::store::admin::servers::load_server;

#[derive(Subcommand)]
pub(in crate::cli) enum Command {
    /// Take no new reservations of a server that touch an interval
    ///
    /// Affects new requests only, which are refused with `closure`. Existing reservations that touch
    /// the interval are listed; cancel them with `holdfast reservation cancel` if need be.
    Add(Add),
    /// List closures that are not over, by start
    List {
        /// Only those of this server
        server: Option<ServerId>,
        /// Also those that are over
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        csv: Csv,
    },
    /// Remove a closure, so that its time can be reserved again
    Remove {
        /// The closure's number, as listed
        id: i64,
    },
}

#[derive(Args)]
#[command(after_help = "\
Example: no reservations on a Sunday morning
  holdfast server closure add gpu-1 --start 2031-05-04T06:00:00Z --end 2031-05-04T09:00:00Z \\
      --reason 'new disks'")]
pub(in crate::cli) struct Add {
    /// The server's id
    server: ServerId,
    /// First instant, such as 2031-05-04T06:00:00Z or +2h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: When,
    /// First instant after it, such as 2031-05-04T09:00:00Z or +5h (also from now)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: When,
    /// Why; for operators, terminals do not see it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Serialize)]
struct Added {
    closure: Closure,
    reservations: Vec<Touched>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Add(add) => run_add(context, add).await,
        Command::List { server, all, csv } => list(context, server, all, csv).await,
        Command::Remove { id } => remove(context, id).await,
    }
}

async fn run_add(context: &Context, add: Add) -> Result<()> {
    let now = When::now();
    let start = add.start.resolve(now).context("the start is beyond the calendar")?;
    let end = add.end.resolve(now).context("the end is beyond the calendar")?;
    let Some(interval) = Interval::new(start, end) else {
        return refuse("--end is not after --start");
    };
    if end <= now {
        return refuse("--end is in the past; give one in the future");
    }
    let mut client = context.database().await?;
    let added = closures::insert_closure(&mut client, &add.server, interval, &add.reason).await;
    let Some((closure, reservations)) = added.map_err(refusal)? else {
        return unknown(&add.server);
    };
    let added = Added { closure, reservations };
    context.output.print(&added, || added_text(&added))
}

fn added_text(Added { closure, reservations }: &Added) -> String {
    let Closure { id, server, .. } = closure;
    let (from, until, code) = (time(closure.start_at), time(closure.end_at), Code::Closure);
    let line = format!(
        "added closure {id}: from {from} until {until} new requests for {server} are refused with \
         {code}"
    );
    if reservations.is_empty() {
        return line;
    }
    let listed = touched_text(reservations);
    format!("{line}\n\nReservations that touch it and stay, unless they are cancelled:\n{listed}")
}

async fn list(context: &Context, server: Option<ServerId>, all: bool, csv: Csv) -> Result<()> {
    let client = context.database().await?;
    let closures = closures::list_closures(&client, server.as_ref(), all).await?;
    if let (Some(server), true) = (&server, closures.is_empty())
        && load_server(&client, server).await?.is_none()
    {
        return unknown(server);
    }
    let header = ["id", "server", "start_at", "end_at", "reason"];
    context.output.list(csv, &header, &closures, || list_text(&closures))
}

async fn remove(context: &Context, id: i64) -> Result<()> {
    let client = context.database().await?;
    let Some(closure) = closures::delete_closure(&client, id).await? else {
        return refuse(format!(
            "closure {id}: unknown; list closures with `holdfast server closure list`"
        ));
    };
    context.output.print(&json!({ "removed": closure }), || {
        let (from, until) = (time(closure.start_at), time(closure.end_at));
        format!("removed closure {id} of {} from {from} until {until}", closure.server)
    })
}

pub(super) fn list_text(closures: &[Closure]) -> String {
    let row = |closure: &Closure| {
        let (start, end) = (time(closure.start_at), time(closure.end_at));
        vec![closure.id.to_string(), closure.server.clone(), start, end, closure.reason.clone()]
    };
    table(
        &["ID", "SERVER", "START", "END", "REASON"],
        &closures.iter().map(row).collect::<Vec<_>>(),
    )
}

fn touched_text(touched: &[Touched]) -> String {
    let row = |reservation: &Touched| {
        let (start, end) = (time(reservation.start_at), time(reservation.end_at));
        let Touched { id, user, state, .. } = reservation;
        vec![id.to_string(), user.clone(), state.clone(), start, end]
    };
    let rows: Vec<Vec<String>> = touched.iter().map(row).collect();
    table(&["RESERVATION", "USER", "STATE", "START", "END"], &rows)
}
