//! `holdfast server set`.

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio_postgres::error::SqlState;

use super::values::{connection_url, currency, unknown, view_url_or_none};
use crate::cli::context::Context;
use crate::cli::exit::{refusal, refuse};
use crate::cli::range::within;
use crate::domain::bounds;
use crate::domain::id::ServerId;
use crate::domain::server::LateBooking;
use crate::store::admin::servers::{ServerChange, update_server};
use crate::store::error::StoreError;

/// SQLSTATE of the capacity guard; its detail lists the reservations in the way.
const CAPACITY_GUARD: &str = "ZR001";

#[derive(Args)]
#[command(after_help = "\
Example: another price, from the next request on
  holdfast server set gpu-1 --rate-minor 1500")]
pub(in crate::cli) struct Set {
    /// The server's id
    id: ServerId,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Simultaneous reservations
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::CAPACITY))]
    capacity: Option<i32>,
    /// Price of an hour, in integer minor units (cents)
    #[arg(long, value_name = "N", value_parser = within::<i64>(bounds::RATE_MINOR))]
    rate_minor: Option<i64>,
    /// Currency of the price, ISO 4217
    #[arg(long, value_name = "CODE", value_parser = currency)]
    currency: Option<String>,
    /// Where a confirmed reservation is served; told from now on, also of what is reserved already. In it,
    /// {key} stands for the reservation's access key and {reservation} for its id
    #[arg(long, value_name = "URL", value_parser = connection_url)]
    connection_url: Option<String>,
    /// Where others watch, told beside it; {reservation} in it stands for the reservation's id
    #[arg(long, value_name = "URL|none", value_parser = view_url_or_none)]
    view_url: Option<String>,
    /// Most viewers of a reservation at a time, for gates; 0 = no limit
    #[arg(long, value_name = "N", value_parser = within::<i32>(bounds::or_zero(&bounds::VIEWERS)))]
    viewers_max: Option<i32>,
    /// How long before its start gates admit a reservation, if its place is free
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::EARLY_SECONDS))]
    early_seconds: Option<i32>,
    /// Grid on which reservations start and end, counted from the Unix epoch
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::SLOT_SECONDS))]
    slot_seconds: Option<i32>,
    /// Shortest reservation
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::LENGTH_SECONDS))]
    min_seconds: Option<i32>,
    /// Longest reservation
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::LENGTH_SECONDS))]
    max_seconds: Option<i32>,
    /// Turn-around time kept free behind each reservation
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::GAP_SECONDS))]
    gap_seconds: Option<i32>,
    /// How long before the start the deadline for the reconfirmation lies
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::LEAD_SECONDS))]
    lead_seconds: Option<i32>,
    /// How long before the deadline a terminal is reminded to reconfirm; 0 = never
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::REMINDER_SECONDS))]
    reminder_seconds: Option<i32>,
    /// How far ahead a reservation may start
    #[arg(long, value_name = "SECONDS", value_parser = within::<i32>(bounds::HORIZON_SECONDS))]
    horizon_seconds: Option<i32>,
    /// What becomes of a request whose deadline has already passed
    #[arg(long, value_name = "WHAT")]
    late_booking: Option<LateBooking>,
}

impl Changes {
    fn to_store(&self) -> ServerChange {
        ServerChange {
            capacity: self.capacity,
            rate_minor: self.rate_minor,
            currency: self.currency.clone(),
            slot_seconds: self.slot_seconds,
            min_seconds: self.min_seconds,
            max_seconds: self.max_seconds,
            gap_seconds: self.gap_seconds,
            lead_seconds: self.lead_seconds,
            reminder_seconds: self.reminder_seconds,
            horizon_seconds: self.horizon_seconds,
            late_booking: self.late_booking,
            connection_url: self.connection_url.clone(),
            view_url: self.view_url.clone(),
            viewers_max: self.viewers_max,
            early_seconds: self.early_seconds,
        }
    }

    /// The requested changes, by flag name with `_`.
    fn told(&self) -> Map<String, Value> {
        let all = [
            ("capacity", json!(self.capacity)),
            ("rate_minor", json!(self.rate_minor)),
            ("currency", json!(self.currency)),
            ("connection_url", json!(self.connection_url)),
            ("view_url", json!(self.view_url)),
            ("viewers_max", json!(self.viewers_max)),
            ("early_seconds", json!(self.early_seconds)),
            ("slot_seconds", json!(self.slot_seconds)),
            ("min_seconds", json!(self.min_seconds)),
            ("max_seconds", json!(self.max_seconds)),
            ("gap_seconds", json!(self.gap_seconds)),
            ("lead_seconds", json!(self.lead_seconds)),
            ("reminder_seconds", json!(self.reminder_seconds)),
            ("horizon_seconds", json!(self.horizon_seconds)),
            ("late_booking", json!(self.late_booking.map(LateBooking::as_str))),
        ];
        let set = all.into_iter().filter(|(_, value)| !value.is_null());
        set.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

pub(super) async fn run(context: &Context, set: Set) -> Result<()> {
    let Set { id, changes } = set;
    let client = context.database().await?;
    let version = match update_server(&client, &id, &changes.to_store()).await {
        Ok(Some(version)) => version,
        Ok(None) => return unknown(&id),
        Err(error) => return not_changed(context, error),
    };
    let mut told = changes.told();
    if changes.rate_minor.is_some() || changes.currency.is_some() {
        told.insert("tariff_version".to_owned(), version.into());
    }
    let words: Vec<String> = told.iter().map(|(name, value)| in_words(name, value)).collect();
    told.insert("server".to_owned(), id.as_str().into());
    context.output.print(&told, || format!("server {id} now has {}", words.join(", ")))
}

fn in_words(name: &str, value: &Value) -> String {
    let name = name.replace('_', " ");
    match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    }
}

fn not_changed(context: &Context, error: StoreError) -> Result<()> {
    if context.output.json
        && let Some((_, Some(in_the_way))) = error.database_message()
        && error.sql_state().is_some_and(|state| state.code() == CAPACITY_GUARD)
    {
        let ids: Vec<&str> = in_the_way.split(", ").collect();
        context.output.line(&json!({ "in_the_way": ids }).to_string())?;
    }
    // clap has checked each value alone, so their combination is wrong.
    if error.sql_state() == Some(&SqlState::CHECK_VIOLATION) {
        return refuse(
            "the longest reservation would be shorter than the shortest; set --min-seconds and \
             --max-seconds together",
        );
    }
    Err(refusal(error))
}
