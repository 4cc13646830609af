//! `holdfast billing ledger`: billing entries and their totals.
//!
//! Entries are read and printed page by page, so that any number of them takes little memory, and no
//! statement takes long.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::{Columns, Csv, Output, csv_header, csv_rows, hint, table, time};
use crate::cli::when::When;
use crate::domain::id::UserId;
use crate::domain::interval::Timestamp;
use crate::domain::money::money;
use crate::store::admin::ledger::{Entry, Position, before, list_entries, load_position};

/// Entries per page: about 5 MB, and some milliseconds of the database.
const PAGE: i64 = 10_000;

#[derive(Args)]
#[command(after_help = "\
Examples: one month, and the last day as comma-separated values
  holdfast billing ledger --from 2031-05-01T00:00:00Z --to 2031-06-01T00:00:00Z
  holdfast billing ledger --from -1d --to now --csv")]
pub(in crate::cli) struct Ledger {
    /// First instant, such as 2031-05-01T00:00:00Z or -30d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: When,
    /// First instant after it, such as 2031-06-01T00:00:00Z or -1m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: When,
    /// Only what this user is billed
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Most entries to print; totals are of what is printed [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    limit: Option<i64>,
    /// Only those behind this entry: the next page
    #[arg(long, value_name = "ENTRY")]
    after: Option<Uuid>,
    #[command(flatten)]
    csv: Csv,
}

/// Totals of one currency in minor units. Sums of `i64`s need more room.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Total {
    charges: u64,
    charges_minor: i128,
    credits: u64,
    credits_minor: i128,
    net_minor: i128,
}

/// By currency.
type Totals = BTreeMap<String, Total>;

pub(super) async fn run(context: &Context, ledger: Ledger) -> Result<()> {
    let now = When::now();
    let from = ledger.from.resolve(now).context("--from is beyond the calendar")?;
    let to = ledger.to.resolve(now).context("--to is beyond the calendar")?;
    if to <= from {
        return refuse("--to is not after --from");
    }
    let csv = ledger.csv.wanted(context.output)?;
    let client = context.database().await?;
    let mut position = start(&client, from, ledger.after).await?;
    let mut printer = Printer::new(context.output, csv);
    printer.begin(from, to, ledger.user.as_ref())?;
    let mut totals = Totals::new();
    let mut left = ledger.limit.unwrap_or(i64::MAX);
    let next = loop {
        let size = left.min(PAGE);
        let user = ledger.user.as_ref();
        let (entries, more) = list_entries(&client, position, to, user, size).await?;
        add(&mut totals, &entries);
        printer.entries(&entries)?;
        left -= size;
        let Some(last) = entries.last().filter(|_| more) else { break None };
        if left == 0 {
            break Some(last.id);
        }
        position = (last.created_at, last.id);
    };
    printer.end(&totals, next)
}

/// Where to begin: behind `after`, but not before `from`.
async fn start(
    client: &tokio_postgres::Client,
    from: Timestamp,
    after: Option<Uuid>,
) -> Result<Position> {
    let Some(after) = after else { return Ok(before(from)) };
    match load_position(client, after).await? {
        Some(position) => Ok(position.max(before(from))),
        None => refuse(format!(
            "--after {after}: there is no such billing entry; give an id from the column ENTRY"
        )),
    }
}

fn add(totals: &mut Totals, entries: &[Entry]) {
    for entry in entries {
        if !totals.contains_key(&entry.currency) {
            totals.insert(entry.currency.clone(), Total::default());
        }
        let total = totals.get_mut(&entry.currency).expect("inserted above");
        let amount = i128::from(entry.amount_minor);
        if entry.kind == "credit" {
            total.credits += 1;
            total.credits_minor += amount;
            total.net_minor -= amount;
        } else {
            total.charges += 1;
            total.charges_minor += amount;
            total.net_minor += amount;
        }
    }
}

enum Format {
    Text(Columns),
    Json,
    Csv,
}

/// Prints a ledger in parts.
struct Printer {
    output: Output,
    format: Format,
    first: bool,
}

impl Printer {
    fn new(output: Output, csv: bool) -> Self {
        let format = match (csv, output.json) {
            (true, _) => Format::Csv,
            (false, true) => Format::Json,
            (false, false) => Format::Text(Columns::default()),
        };
        Self { output, format, first: true }
    }

    fn begin(&mut self, from: Timestamp, to: Timestamp, user: Option<&UserId>) -> Result<()> {
        match &self.format {
            Format::Text(_) => Ok(()),
            Format::Json => {
                let user = user.map(UserId::as_str);
                let [from, to, user] = [json!(from), json!(to), json!(user)];
                let head = format!(r#"{{"from":{from},"to":{to},"user":{user},"entries":["#);
                self.output.part(&head)
            }
            Format::Csv => self.output.part(&csv_header(&FIELDS)?),
        }
    }

    fn entries(&mut self, entries: &[Entry]) -> Result<()> {
        let first = std::mem::replace(&mut self.first, false);
        let text = match &mut self.format {
            Format::Text(columns) => {
                let header = first.then(|| HEADER.map(str::to_owned).to_vec());
                columns
                    .align(&header.into_iter().chain(entries.iter().map(row)).collect::<Vec<_>>())
            }
            Format::Json => {
                let list = serde_json::to_string(entries)?;
                let items = &list[1..list.len() - 1];
                if first || items.is_empty() { items.to_owned() } else { format!(",{items}") }
            }
            Format::Csv => csv_rows(&entries.iter().map(record).collect::<Vec<_>>())?,
        };
        self.output.part(&text)
    }

    /// `next` is the last entry if more follow.
    fn end(self, totals: &Totals, next: Option<Uuid>) -> Result<()> {
        match self.format {
            Format::Text(_) => self.output.line(&format!("\n{}", totals_text(totals)))?,
            Format::Json => {
                let (totals, next) = (serde_json::to_string(totals)?, json!(next));
                return self.output.line(&format!(r#"],"totals":{totals},"next":{next}}}"#));
            }
            // Lines of another kind would disturb whoever reads the entries.
            Format::Csv => {}
        }
        if let Some(next) = next {
            hint!("there are more: repeat it with --after {next}");
        }
        Ok(())
    }
}

const HEADER: [&str; 8] =
    ["WHEN", "KIND", "AMOUNT", "SECONDS", "USER", "SERVER", "RESERVATION", "ENTRY"];

fn row(entry: &Entry) -> Vec<String> {
    vec![
        time(entry.created_at),
        entry.kind.clone(),
        money(entry.amount_minor.into(), &entry.currency),
        entry.seconds.to_string(),
        entry.user.clone(),
        entry.server.clone(),
        entry.reservation.to_string(),
        entry.id.to_string(),
    ]
}

/// Names of what [`record`] has, as in JSON.
const FIELDS: [&str; 11] = [
    "id",
    "kind",
    "reservation",
    "charge",
    "user",
    "server",
    "seconds",
    "amount_minor",
    "currency",
    "tariff_version",
    "created_at",
];

fn record(entry: &Entry) -> impl Serialize + '_ {
    let Entry { id, kind, reservation, charge, user, server, seconds, .. } = entry;
    (
        id,
        kind,
        reservation,
        charge,
        user,
        server,
        seconds,
        entry.amount_minor,
        &entry.currency,
        entry.tariff_version,
        time(entry.created_at),
    )
}

fn totals_text(totals: &Totals) -> String {
    let sum = |(currency, total): (&String, &Total)| {
        vec![
            currency.clone(),
            total.charges.to_string(),
            money(total.charges_minor, currency),
            total.credits.to_string(),
            money(total.credits_minor, currency),
            money(total.net_minor, currency),
        ]
    };
    let header = ["TOTAL", "CHARGES", "CHARGED", "CREDITS", "CREDITED", "NET"];
    table(&header, &totals.iter().map(sum).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn credits_are_taken_off_per_currency_and_nothing_overflows() {
        let entry = |kind: &str, currency: &str, amount_minor| Entry {
            id: Uuid::nil(),
            kind: kind.to_owned(),
            reservation: Uuid::nil(),
            charge: None,
            user: "ann".to_owned(),
            server: "cam".to_owned(),
            seconds: 60,
            amount_minor,
            currency: currency.to_owned(),
            tariff_version: 1,
            created_at: chrono::DateTime::from_timestamp(0, 0).unwrap(),
        };
        let entries = [
            entry("charge", "EUR", i64::MAX),
            entry("charge", "EUR", 5),
            entry("credit", "EUR", 7),
            entry("credit", "USD", 3),
        ];
        let mut totals = Totals::new();
        add(&mut totals, &entries);
        assert_eq!(totals["EUR"].net_minor, i128::from(i64::MAX) - 2);
        assert_eq!((totals["EUR"].charges, totals["EUR"].credits), (2, 1));
        assert_eq!((totals["USD"].charges_minor, totals["USD"].net_minor), (0, -3));
    }
}
