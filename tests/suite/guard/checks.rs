//! Rows that contradict themselves, and second bills.

use super::database;
use crate::support::database::{CLEAR, Row};

const CHECK_VIOLATION: &str = "23514";
const UNIQUE_VIOLATION: &str = "23505";

/// A valid row's state and what is changed about it.
const CONTRADICTIONS: [(&str, &str); 20] = [
    ("held", "end_at = start_at, busy_until = start_at"),
    ("held", "end_at = start_at - interval '1 h'"),
    ("held", "busy_until = end_at - interval '1 s'"),
    ("held", "deadline_at = start_at + interval '1 s'"),
    ("held", "end_at = 'infinity', busy_until = 'infinity'"),
    ("held", "busy_until = 'infinity'"),
    ("held", "start_at = '-infinity', deadline_at = '-infinity'"),
    ("held", "deadline_at = '-infinity'"),
    ("held", "state = 'settled'"),
    ("held", "state = 'cancelled', settled_at = now()"),
    ("held", "state = 'cancelled', cancel_reason = 'operator'"),
    ("held", "state = 'cancelled', cancel_reason = 'weather', settled_at = now()"),
    ("held", "state = 'confirmed'"),
    ("held", "state = 'reconfirmed'"),
    ("held", "cancel_reason = 'operator'"),
    ("held", "settled_at = now()"),
    ("held", "price_minor = -1"),
    ("confirmed", "settled_at = null"),
    ("cancelled", "cancel_reason = null"),
    ("cancelled", "settled_at = null"),
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_do_not_contradict_themselves() {
    let database = database(1).await;
    for (state, change) in CONTRADICTIONS {
        database.accepts(CLEAR).await;
        database.accepts(&Row { state, ..Row::held(0., 60.) }.insert()).await;
        database.refuses(CHECK_VIOLATION, &format!("update reservations set {change}")).await;
    }
    for change in ["capacity = 0", "rate_minor = -1", "currency = 'eur'", "late_booking = 'maybe'"]
    {
        database.refuses(CHECK_VIOLATION, &format!("update servers set {change}")).await;
    }
    let closure =
        "insert into closures (server_id, start_at, end_at) values ('cam', now(), 'infinity')";
    database.refuses(CHECK_VIOLATION, closure).await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_charged_once_and_credited_once() {
    let database = database(1).await;
    let row = Row { state: "confirmed", ..Row::held(0., 60.) };
    database.accepts(&row.insert()).await;
    let entry = |kind: &str, charge: &str| {
        format!(
            "insert into billing_entries values (gen_random_uuid(), '{kind}', '{}', {charge}, 'ann',
                 'cam', 3600, 3600, 'EUR', 1, now())",
            row.id
        )
    };
    let charge = "(select id from billing_entries where kind = 'charge')";
    database.refuses(CHECK_VIOLATION, &entry("credit", "null")).await;
    database.accepts(&entry("charge", "null")).await;
    database.refuses(UNIQUE_VIOLATION, &entry("charge", "null")).await;
    database.refuses(CHECK_VIOLATION, &entry("charge", charge)).await;
    database.accepts(&entry("credit", charge)).await;
    database.refuses(UNIQUE_VIOLATION, &entry("credit", charge)).await;
    // A bill is for a reservation that exists.
    let nobodys =
        "insert into billing_entries values (gen_random_uuid(), 'charge', gen_random_uuid(),
        null, 'ann', 'cam', 3600, 3600, 'EUR', 1, now())";
    database.refuses("23503", nobodys).await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_id_is_decided_once_per_terminal() {
    let database = database(1).await;
    let decided = |terminal| {
        format!(
            "insert into processed_commands values ('{terminal}', 'm', 'request', '', 'accepted',
                 'reservation.accepted', '{{}}', 'cam', null, 1, now())"
        )
    };
    database.accepts(&decided("ann-t")).await;
    database.refuses(UNIQUE_VIOLATION, &decided("ann-t")).await;
    database.accepts(&decided("bob-t")).await;
    database.finish().await;
}
