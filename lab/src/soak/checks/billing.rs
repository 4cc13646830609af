//! Checks that billing entries and events received by the biller match one to one.

use std::collections::HashSet;

use super::{Check, Seen};
use crate::biller::Ledger;

/// Compares in both directions, with kind, reservation, amount and currency.
pub fn told(seen: &Seen<'_>, ledger: &Ledger) -> Check {
    let mut check = Check::new("billing entries and events are the same, to the cent");
    let mut known = HashSet::new();
    for entry in &seen.facts.entries {
        known.insert(entry.id);
        let kind = match entry.kind.as_str() {
            "charge" => "reservation.confirmed",
            _ => "reservation.credited",
        };
        let expected = (kind, entry.reservation, entry.amount_minor, entry.currency.as_str());
        let told = ledger.entries.get(&entry.id);
        let told = told.map(|told| {
            (told.kind.as_str(), told.reservation, told.amount_minor, told.currency.as_str())
        });
        check.that(told == Some(expected), || {
            format!("entry {}: {expected:?}, told {told:?}", entry.id)
        });
    }
    for id in ledger.entries.keys() {
        check.that(known.contains(id), || format!("event {id} is of no billing entry"));
    }
    check
}

pub fn repeated(ledger: &Ledger) -> Check {
    let mut check = Check::new("events that came again are the same, byte for byte");
    check.checked = ledger.entries.values().filter(|entry| entry.times > 1).count();
    check.wrong = ledger.wrong.clone();
    check
}
