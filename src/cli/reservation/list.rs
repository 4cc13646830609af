//! `holdfast reservation list`.

use anyhow::{Context as _, Result};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::show::Described;
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::{Csv, csv_header, csv_rows, hint, table, time};
use crate::cli::when::When;
use crate::domain::id::{ServerId, UserId};
use crate::domain::reservation::{Reservation, State};
use crate::store::admin::reservations::{Filter, Page, list_reservations};

#[derive(Args)]
#[command(after_help = "\
Example: what is booked on gpu-1 on one day
  holdfast reservation list --server gpu-1 --state held --state reconfirmed --state confirmed \\
      --from 2031-05-01T00:00:00Z --to 2031-05-02T00:00:00Z")]
pub(in crate::cli) struct List {
    /// Only those of this user
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Only those of this server
    #[arg(long, value_name = "ID")]
    server: Option<ServerId>,
    /// Only those in this state; can be given several times
    #[arg(long, value_name = "STATE")]
    state: Vec<State>,
    /// Only those that end after this instant, such as 2031-05-01T00:00:00Z, now or
    /// -1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// Only those that start before this instant
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<When>,
    /// Most reservations to list
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Only those behind this reservation: the next page
    #[arg(long, value_name = "RESERVATION")]
    after: Option<Uuid>,
    #[command(flatten)]
    csv: Csv,
}

impl ValueEnum for State {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

impl List {
    fn filter(&self) -> Result<Filter> {
        let now = When::now();
        let instant = |when: Option<When>| match when {
            None => Ok(None),
            Some(when) => when.resolve(now).map(Some).context("that is beyond the calendar"),
        };
        Ok(Filter {
            user: self.user.clone(),
            server: self.server.clone(),
            states: self.state.clone(),
            from: instant(self.from)?,
            to: instant(self.to)?,
        })
    }
}

pub(super) async fn run(context: &Context, list: List) -> Result<()> {
    let filter = list.filter()?;
    if let (Some(from), Some(to)) = (filter.from, filter.to)
        && to <= from
    {
        return refuse("--to is not after --from");
    }
    let csv = list.csv.wanted(context.output)?;
    let client = context.database().await?;
    let Some(page) = list_reservations(&client, &filter, list.after, list.limit).await? else {
        return refuse("there is no reservation with the id in --after");
    };
    let next = page.reservations.last().filter(|_| page.more).map(|last| last.id);
    if csv {
        context.output.part(&csv_header(&FIELDS)?)?;
        context
            .output
            .part(&csv_rows(&page.reservations.iter().map(record).collect::<Vec<_>>())?)?;
    } else {
        context.output.print(&value(&page, next), || text(&page))?;
    }
    if let (Some(next), false) = (next, context.output.json) {
        hint!("there are more: repeat it with --after {next}");
    }
    Ok(())
}

fn value(page: &Page, next: Option<Uuid>) -> Value {
    let described: Vec<Described> =
        page.reservations.iter().map(|reservation| Described::new(reservation, None)).collect();
    json!({ "reservations": described, "next": next })
}

/// Names of what [`record`] has.
const FIELDS: [&str; 11] = [
    "id",
    "server",
    "user",
    "terminal",
    "message_id",
    "state",
    "start_at",
    "end_at",
    "deadline_at",
    "price_minor",
    "currency",
];

fn record(reservation: &Reservation) -> impl Serialize + '_ {
    let Reservation { id, message_id, price_minor, currency, .. } = reservation;
    let state = reservation.state.as_str();
    let [server, user, terminal] =
        [reservation.server.as_str(), reservation.user.as_str(), reservation.terminal.as_str()];
    let [start, end] = [reservation.interval.start, reservation.interval.end].map(time);
    let deadline = time(reservation.deadline_at);
    (id, server, user, terminal, message_id, state, start, end, deadline, price_minor, currency)
}

fn text(page: &Page) -> String {
    let row = |reservation: &Reservation| {
        vec![
            reservation.id.to_string(),
            reservation.server.to_string(),
            reservation.user.to_string(),
            reservation.state.to_string(),
            time(reservation.interval.start),
            time(reservation.interval.end),
            time(reservation.deadline_at),
        ]
    };
    let header = ["RESERVATION", "SERVER", "USER", "STATE", "START", "END", "DEADLINE"];
    table(&header, &page.reservations.iter().map(row).collect::<Vec<_>>())
}
