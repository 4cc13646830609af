//! `holdfast reconcile`: what others were told, and the database no longer has.

mod judge;
mod records;

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::context::Context;
use super::exit::{CliError, refuse};
use super::output::{hint, table};
use super::when::When;
use crate::domain::money::money;
use crate::store::admin::ledger::{before, list_entries};
use crate::store::admin::reconcile::{load_entries_by_id, load_fates};
use judge::{Difference, judge_bill, judge_reservation};
use records::{Bills, Told, read_bills, read_told};

/// Ids or entries per statement: some milliseconds of the database.
const PAGE: usize = 5_000;

#[derive(Args)]
#[command(after_help = "\
Example: what a restored backup lacks
  holdfast reconcile --biller bills.jsonl --from 2031-05-01T12:00:00Z --terminal alice-1.jsonl

Files have a JSON document per line, as it was received:
  --biller    events of the queue billing.entries.v1
  --terminal  answers and notices, also of several terminals

Differences:
  charge_missing, credit_missing
              the biller has it and the ledger does not: void it at the biller
  entry_differs
              both have it, with another reservation, user or amount: correct it at the biller
  not_received
              the ledger has it and the biller does not: publish its event again
  reservation_missing
              a terminal was told of it: tell the user that it is gone, or request it anew
  reconfirmation_missing, confirmation_missing
              a terminal was told so. If the reservation was cancelled for it, request it anew
  cancellation_missing
              a terminal was told so: withdraw it, or cancel it with `holdfast reservation cancel`")]
pub(super) struct Reconcile {
    /// File with every event that the biller has received since --from; can be given several times
    #[arg(long, value_name = "FILE", requires = "from")]
    biller: Vec<PathBuf>,
    /// File with answers and notices that terminals have received; can be given several times
    #[arg(long, value_name = "FILE", required_unless_present = "biller")]
    terminal: Vec<PathBuf>,
    /// First instant of what the biller must have received, such as 2031-05-01T12:00:00Z or -1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// First instant after it [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "from")]
    to: Option<When>,
}

/// Exits with 3 if there is a difference.
pub(super) async fn run(context: &Context, reconcile: Reconcile) -> Result<()> {
    let Reconcile { biller, terminal, from, to } = reconcile;
    let read = move || anyhow::Ok((read_bills(&biller)?, read_told(&terminal)?));
    let (bills, told) = tokio::task::spawn_blocking(read).await.context("reading the files")??;
    let client = context.database().await?;
    let mut found = differing_bills(&client, &bills).await?;
    if let Some(from) = from {
        found.extend(not_received(&client, from, to, &bills).await?);
    }
    found.extend(differing_reservations(&client, &told).await?);
    let (events, reservations) = (bills.len(), told.len());
    let report = json!({ "events": events, "reservations": reservations, "differences": found });
    context.output.print(&report, || text(&found))?;
    hint!("compared {events} events and {reservations} reservations");
    if found.is_empty() {
        return Ok(());
    }
    Err(CliError::CheckFailed(format!(
        "differences: {}. `holdfast reconcile --help` says what to do about each",
        found.len()
    ))
    .into())
}

/// What the biller has and the ledger lacks or has otherwise.
async fn differing_bills(client: &Client, bills: &Bills) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let ids: Vec<Uuid> = bills.keys().copied().collect();
    for page in ids.chunks(PAGE) {
        let entries = load_entries_by_id(client, page).await?;
        let entries = by_id(entries, |entry| entry.id);
        found.extend(page.iter().filter_map(|id| judge_bill(*id, &bills[id], entries.get(id))));
    }
    Ok(found)
}

/// What the ledger has and the biller lacks.
async fn not_received(
    client: &Client,
    from: When,
    to: Option<When>,
    bills: &Bills,
) -> Result<Vec<Difference>> {
    let now = When::now();
    let from = from.resolve(now).context("--from is beyond the calendar")?;
    let to = to.map_or(Some(now), |to| to.resolve(now)).context("--to is beyond the calendar")?;
    if to <= from {
        return refuse("--to is not after --from");
    }
    let size = i64::try_from(PAGE).expect("a page is small");
    let (mut found, mut position) = (Vec::new(), before(from));
    loop {
        let (entries, more) = list_entries(client, position, to, None, size).await?;
        let missing = entries.iter().filter(|entry| !bills.contains_key(&entry.id));
        found.extend(missing.map(Difference::not_received));
        match entries.last().filter(|_| more) {
            Some(last) => position = (last.created_at, last.id),
            None => return Ok(found),
        }
    }
}

/// What terminals were told and the database lacks.
async fn differing_reservations(client: &Client, told: &Told) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let ids: Vec<Uuid> = told.keys().copied().collect();
    for page in ids.chunks(PAGE) {
        let fates = by_id(load_fates(client, page).await?, |fate| fate.reservation);
        found.extend(page.iter().filter_map(|id| judge_reservation(*id, &told[id], fates.get(id))));
    }
    Ok(found)
}

fn by_id<T>(rows: Vec<T>, id: impl Fn(&T) -> Uuid) -> HashMap<Uuid, T> {
    rows.into_iter().map(|row| (id(&row), row)).collect()
}

fn text(found: &[Difference]) -> String {
    let header = ["WHAT", "RESERVATION", "TOLD", "STORED", "USER", "SERVER", "AMOUNT", "ENTRY"];
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |difference: &Difference| {
        let amount = difference.amount_minor.zip(difference.currency.as_deref());
        let entry = difference.entry.map(|entry| entry.to_string());
        vec![
            difference.what.to_string(),
            difference.reservation.to_string(),
            or_none(&difference.told),
            or_none(&difference.stored),
            or_none(&difference.user),
            or_none(&difference.server),
            amount.map_or("-".to_owned(), |(amount, currency)| money(amount.into(), currency)),
            or_none(&entry),
        ]
    };
    if found.is_empty() {
        return "no difference".to_owned();
    }
    table(&header, &found.iter().map(row).collect::<Vec<_>>())
}
