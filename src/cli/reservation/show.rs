//! `holdfast reservation show`.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::words::{unknown, why};
use crate::cli::context::Context;
use crate::cli::output::{fields, table, time};
use crate::domain::interval::Timestamp;
use crate::domain::money::money;
use crate::domain::reservation::{Reservation, State};
use crate::message::answer::{ReservationView, Urls};
use crate::store::admin::ledger::{Entry, load_entries};
use crate::store::admin::reservations::{ReservationDetails, load_reservation};

/// What terminals see, and what only operators see.
#[derive(Serialize)]
pub(super) struct Described {
    #[serde(flatten)]
    view: ReservationView,
    user: String,
    terminal: String,
    message_id: String,
    held_at: Timestamp,
    busy_until: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    remind_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reminded_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl Described {
    pub(super) fn new(reservation: &Reservation, urls: Option<Urls<'_>>) -> Self {
        Self {
            view: ReservationView::new(reservation, urls),
            user: reservation.user.to_string(),
            terminal: reservation.terminal.to_string(),
            message_id: reservation.message_id.clone(),
            held_at: reservation.held_at,
            busy_until: reservation.busy_until,
            remind_at: reservation.remind_at,
            reminded_at: reservation.reminded_at,
            traceparent: traceparent(reservation),
        }
    }
}

pub(super) async fn run(context: &Context, id: Uuid) -> Result<()> {
    let client = context.database().await?;
    let Some(details) = load_reservation(&client, id).await? else {
        return unknown(id);
    };
    let ReservationDetails { reservation, partition, connection_url: url, view_url } = details;
    let urls = Urls { connection: &url, view: view_url.as_deref() };
    let billing = load_entries(&client, id).await?;
    let value = json!({
        "reservation": Described::new(&reservation, Some(urls)),
        "partition": partition,
        "billing": billing,
    });
    context.output.print(&value, || text(&reservation, partition, &url, &billing))
}

fn text(reservation: &Reservation, partition: i32, url: &str, billing: &[Entry]) -> String {
    let price = money(reservation.price_minor.into(), &reservation.currency);
    let mut lines = vec![
        ("reservation", reservation.id.to_string()),
        ("state", format!("{}: {}", reservation.state, why(reservation))),
        ("user", reservation.user.to_string()),
        ("terminal", reservation.terminal.to_string()),
        ("message", reservation.message_id.clone()),
        ("server", reservation.server.to_string()),
        ("partition", partition.to_string()),
        ("start", time(reservation.interval.start)),
        ("end", time(reservation.interval.end)),
        ("busy until", time(reservation.busy_until)),
        ("deadline", time(reservation.deadline_at)),
        ("price", format!("{price}, tariff version {}", reservation.tariff_version)),
        ("held", time(reservation.held_at)),
    ];
    let connection = (reservation.state == State::Confirmed).then(|| url.to_owned());
    let optional = [
        ("to be reminded", reservation.remind_at.map(time)),
        ("reminded", reservation.reminded_at.map(time)),
        ("reconfirmed", reservation.reconfirmed_at.map(time)),
        ("settled", reservation.settled_at.map(time)),
        ("connection", connection),
        ("trace", traceparent(reservation)),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let head = fields(&lines);
    if billing.is_empty() {
        return format!("{head}\nNothing was billed.");
    }
    let row = |entry: &Entry| {
        let amount = money(entry.amount_minor.into(), &entry.currency);
        vec![time(entry.created_at), entry.kind.clone(), amount, entry.id.to_string()]
    };
    let rows: Vec<Vec<String>> = billing.iter().map(row).collect();
    format!("{head}\n{}", table(&["BILLED", "KIND", "AMOUNT", "ENTRY"], &rows))
}

fn traceparent(reservation: &Reservation) -> Option<String> {
    reservation.trace.as_ref().map(|trace| trace.parent().to_string())
}
