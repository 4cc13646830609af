//! R6 and R7: what a reservation costs, and what an accepted answer carries.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::client::Command;
use holdfast::message::answer::Notice;
use holdfast::message::event::{CloudEvent, ConfirmedData};
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;

use super::span;
use crate::support::stack::Stack;
use crate::support::terminal::{in_seconds, new_id, window};

#[tokio::test(flavor = "multi_thread")]
async fn the_price_is_prorated_by_the_second_and_rounded_half_up() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let cases: [(&(dyn ToSql + Sync), i64, i64); 9] = [
        (&3_600i64, 1, 1),
        (&1_000i64, 3_600, 1_000),
        (&1_000i64, 1_800, 500),
        (&1i64, 1_800, 1), // exactly one half goes up
        (&1i64, 1_799, 0),
        (&3i64, 600, 1),  // 0.5
        (&100i64, 60, 2), // 1.67
        (&0i64, 3_600, 0),
        (&100_000_000_000i64, 86_400, 2_400_000_000_000),
    ];
    for (index, (rate, seconds, price)) in cases.into_iter().enumerate() {
        let server = stack.server(&format!("s{index}"), &[("rate_minor", rate)]).await;
        let view = terminal.accepted(&server, window(86_400, seconds)).await;
        assert_eq!(view.price.amount_minor, price, "{rate:?} per hour for {seconds} s");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_price_outlives_a_change_of_tariff() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let wanted = window(66, 600);
    let old = terminal.accepted(&server, wanted).await;
    assert_eq!((old.price.amount_minor, old.price.tariff_version), (600, 1));
    stack.execute("update servers set rate_minor = 7200, currency = 'CHF'", &[]).await;
    let new = terminal.accepted(&server, wanted).await;
    assert_eq!((new.price.amount_minor, new.price.tariff_version), (1_200, 2));
    assert_eq!((old.price.currency.as_str(), new.price.currency.as_str()), ("EUR", "CHF"));
    // What is no change of tariff raises no version.
    stack.execute("update servers set capacity = 3, rate_minor = 7200", &[]).await;
    let third = terminal.accepted(&server, wanted).await;
    assert_eq!(third.price, new.price);

    terminal.reconfirm(&server, old.id).await;
    let Notice::Confirmed { reservation, .. } = terminal.notice_about(old.id).await else {
        panic!("not confirmed");
    };
    assert_eq!(reservation.price, old.price);
    stack.outbox_empty().await;
    let events = stack.drain(BILLING_QUEUE).await;
    let event: CloudEvent<ConfirmedData> =
        serde_json::from_slice(&events[0].data).expect("an event");
    assert_eq!((event.data.amount_minor, event.data.tariff_version), (600, 1));
    assert_eq!(event.data.currency, "EUR");
    let charged: i64 = stack.ask("select amount_minor from billing_entries", &[]).await;
    assert_eq!(charged, 600);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_answer_says_exactly_this() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("lead_seconds", &3_600)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    // Half an hour from a full hour lies in one period.
    let tomorrow = in_seconds(86_400);
    let base = tomorrow - TimeDelta::seconds(tomorrow.timestamp() % 3_600);
    let (start, end) = span(base, 0, 1_800);
    let command = Command::request(new_id(), "cam", start, end);
    terminal.client.send(&command).await.expect("sent");
    let reply = terminal.reply_to(&command.message_id).await;
    let mut body: Value = serde_json::from_slice(&reply.body).expect("JSON");

    let decided_at: DateTime<Utc> =
        serde_json::from_value(body["decided_at"].take()).expect("an instant");
    let recorded: DateTime<Utc> = stack.ask("select decided_at from processed_commands", &[]).await;
    assert_eq!(decided_at, recorded, "the database's clock");
    let id: uuid::Uuid = stack.ask("select id from reservations", &[]).await;
    let (from, to): (DateTime<Utc>, DateTime<Utc>) = (
        stack.ask("select period_start from quota_periods($1, $2)", &[&start, &end]).await,
        stack.ask("select period_end from quota_periods($1, $2)", &[&start, &end]).await,
    );
    let expected = json!({
        "type": "reservation.accepted",
        "reservation": {
            "id": id,
            "server": "cam",
            "state": "held",
            "start_at": start,
            "end_at": end,
            "deadline_at": start - TimeDelta::seconds(3_600),
            "price": { "amount_minor": 1_800, "currency": "EUR", "tariff_version": 1 },
        },
        "quota": [{
            "period_start": from,
            "period_end": to,
            "limit_seconds": 360_000,
            "used_seconds": 0,
            "requested_seconds": 1_800,
        }],
        "decided_at": null,
        "no_reminder": "off",
    });
    assert_eq!(body, expected);
    assert_eq!(reply.type_name, "reservation.accepted");
    stack.finish().await;
}
