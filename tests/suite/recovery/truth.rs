//! What was lost, by the two databases alone.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::Named;

/// Every kind of loss.
pub const KINDS: [&str; 7] = [
    "charge_missing",
    "credit_missing",
    "not_received",
    "reservation_missing",
    "reconfirmation_missing",
    "confirmation_missing",
    "cancellation_missing",
];

/// A reservation, as stored.
struct Row {
    state: String,
    ended_by_people: bool,
    reconfirmed: bool,
}

/// All that a database says.
pub struct Truth {
    reservations: BTreeMap<String, Row>,
    /// Kind and reservation of each billing entry, by id.
    entries: BTreeMap<String, (String, String)>,
}

impl Truth {
    pub async fn read(db: &Client) -> Self {
        let rows = "select id::text, state, coalesce(cancel_reason in ('withdrawn', 'operator'), false) as ended,
                    reconfirmed_at is not null as reconfirmed from reservations";
        let rows = db.query(rows, &[]).await.expect("reservations");
        let row = |row: &tokio_postgres::Row| Row {
            state: row.get("state"),
            ended_by_people: row.get("ended"),
            reconfirmed: row.get("reconfirmed"),
        };
        let reservations = rows.iter().map(|it| (it.get("id"), row(it))).collect();
        let entries = "select id::text, kind, reservation_id::text from billing_entries";
        let entries = db.query(entries, &[]).await.expect("billing entries");
        let entries = entries.iter().map(|it| (it.get(0), (it.get(1), it.get(2)))).collect();
        Self { reservations, entries }
    }

    fn is_charged(&self, reservation: &str) -> bool {
        self.entries.values().any(|(kind, of)| kind == "charge" && of == reservation)
    }
}

/// What `before` had and `after` does not, and what of `after` the biller has not received.
pub fn lost(before: &Truth, after: &Truth, received: &BTreeSet<String>) -> Named {
    let mut lost = Named::new();
    for (id, (kind, reservation)) in &before.entries {
        if !after.entries.contains_key(id) {
            lost.insert((format!("{kind}_missing"), reservation.clone()));
        }
    }
    for (id, (_, reservation)) in &after.entries {
        if !received.contains(id) {
            lost.insert(("not_received".to_owned(), reservation.clone()));
        }
    }
    for (id, row) in &before.reservations {
        let what = match after.reservations.get(id) {
            None => "reservation_missing",
            Some(_) if before.is_charged(id) && !after.is_charged(id) => "confirmation_missing",
            Some(now) if row.state == "cancelled" && now.state != "cancelled" => {
                "cancellation_missing"
            }
            Some(now) if row.reconfirmed && !now.reconfirmed && !row.ended_by_people => {
                "reconfirmation_missing"
            }
            Some(_) => continue,
        };
        lost.insert((what.to_owned(), id.clone()));
    }
    lost
}
