//! The final comparison: billing entries, and the events that the biller received.

use std::collections::BTreeSet;

use anyhow::Result;
use uuid::Uuid;

use crate::biller::Event;
use crate::database::Entry;
use crate::stage::{HALF_MINUTE_MINOR, Stage};
use crate::timeline::print;
use crate::wait;
use crate::words::{money, short, table};

/// Reservations that were reconfirmed in time: in scene 1 and in scene 6.
const CHARGES: usize = 2;

pub async fn compare(stage: &Stage) -> Result<()> {
    stage.timeline.scene("The ledger, and what the biller was told");
    wait::until("everything is told", async || {
        Ok(stage.database.ask::<i64>("select count(*) from outbox", &[]).await? == 0)
    })
    .await?;
    let entries = stage.database.ledger(&stage.suffix).await?;
    // Published events may still be in the queue.
    let heard = async || Ok(stage.biller.events().len() >= entries.len());
    wait::until("the biller hears of every entry", heard).await?;
    let events = stage.biller.events();
    print_ledger(&entries, &events, &stage.suffix);
    check(stage, &entries, &events);
    let violations = stage.database.violations().await?;
    stage.timeline.check("schema/invariants.sql finds nothing", violations, Vec::new());
    Ok(())
}

fn print_ledger(entries: &[Entry], events: &[Event], suffix: &str) {
    let header =
        ["ENTRY", "KIND", "AMOUNT", "SECONDS", "SERVER", "TERMINAL", "RESERVATION", "EVENTS"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let name = |id: &str| id.trim_end_matches(&format!("-{suffix}")).to_owned();
    for entry in entries {
        let told = events.iter().filter(|event| event.id == entry.id).count();
        rows.push(vec![
            short(entry.id),
            entry.kind.clone(),
            money(entry.amount_minor, &entry.currency),
            entry.seconds.to_string(),
            name(&entry.server),
            name(&entry.terminal),
            format!("{} {}", short(entry.reservation), entry.state),
            told.to_string(),
        ]);
    }
    print(&table(&rows));
}

fn check(stage: &Stage, entries: &[Entry], events: &[Event]) {
    let timeline = &stage.timeline;
    let amounts: Vec<i64> = entries.iter().map(|entry| entry.amount_minor).collect();
    timeline.check("two charges of 1.50 EUR", amounts, vec![HALF_MINUTE_MINOR; CHARGES]);
    let billed: BTreeSet<(Uuid, Uuid, i64)> =
        entries.iter().map(|entry| (entry.id, entry.reservation, entry.amount_minor)).collect();
    let told: BTreeSet<(Uuid, Uuid, i64)> =
        events.iter().map(|event| (event.id, event.subject, event.data.amount_minor)).collect();
    timeline.check("the biller was told of the same entries and amounts", told, billed);
    timeline.check("and of each once", events.len(), entries.len());
}
