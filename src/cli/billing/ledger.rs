//! `holdfast billing ledger`: billing entries and their totals.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::{table, time};
use crate::cli::when::When;
use crate::domain::id::UserId;
use crate::domain::interval::Timestamp;
use crate::domain::money::money;
use crate::store::admin::ledger::{Entry, list_entries};

#[derive(Args)]
#[command(after_help = "\
Example: one month
  holdfast billing ledger --from 2031-05-01T00:00:00Z --to 2031-06-01T00:00:00Z")]
pub(in crate::cli) struct Ledger {
    /// First instant, such as 2031-05-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    from: When,
    /// First instant after it, such as 2031-06-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    to: When,
    /// Only what this user is billed
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
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

#[derive(Serialize)]
struct Report<'a> {
    from: Timestamp,
    to: Timestamp,
    user: Option<&'a str>,
    entries: &'a [Entry],
    totals: BTreeMap<&'a str, Total>,
}

pub(super) async fn run(context: &Context, ledger: Ledger) -> Result<()> {
    let now = When::now();
    let from = ledger.from.resolve(now).context("--from is beyond the calendar")?;
    let to = ledger.to.resolve(now).context("--to is beyond the calendar")?;
    if to <= from {
        return refuse("--to is not after --from");
    }
    let client = context.database().await?;
    let entries = list_entries(&client, from, to, ledger.user.as_ref()).await?;
    let user = ledger.user.as_ref().map(UserId::as_str);
    let report = Report { from, to, user, totals: totals(&entries), entries: &entries };
    context.output.print(&report, || text(&report))
}

fn totals(entries: &[Entry]) -> BTreeMap<&str, Total> {
    let mut totals: BTreeMap<&str, Total> = BTreeMap::new();
    for entry in entries {
        let total = totals.entry(&entry.currency).or_default();
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
    totals
}

fn text(report: &Report) -> String {
    let row = |entry: &Entry| {
        vec![
            time(entry.created_at),
            entry.kind.clone(),
            money(entry.amount_minor.into(), &entry.currency),
            entry.seconds.to_string(),
            entry.user.clone(),
            entry.server.clone(),
            entry.reservation.to_string(),
        ]
    };
    let header = ["WHEN", "KIND", "AMOUNT", "SECONDS", "USER", "SERVER", "RESERVATION"];
    let listed = table(&header, &report.entries.iter().map(row).collect::<Vec<_>>());
    let sum = |(currency, total): (&&str, &Total)| {
        vec![
            (*currency).to_owned(),
            total.charges.to_string(),
            money(total.charges_minor, currency),
            total.credits.to_string(),
            money(total.credits_minor, currency),
            money(total.net_minor, currency),
        ]
    };
    let header = ["TOTAL", "CHARGES", "CHARGED", "CREDITS", "CREDITED", "NET"];
    format!("{listed}\n{}", table(&header, &report.totals.iter().map(sum).collect::<Vec<_>>()))
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
            created_at: chrono::DateTime::from_timestamp(0, 0).unwrap(),
        };
        let entries = [
            entry("charge", "EUR", i64::MAX),
            entry("charge", "EUR", 5),
            entry("credit", "EUR", 7),
            entry("credit", "USD", 3),
        ];
        let totals = totals(&entries);
        assert_eq!(totals["EUR"].net_minor, i128::from(i64::MAX) - 2);
        assert_eq!((totals["EUR"].charges, totals["EUR"].credits), (2, 1));
        assert_eq!((totals["USD"].charges_minor, totals["USD"].net_minor), (0, -3));
    }
}
