//! Updates: which changes of a reservation are allowed, and which are checked again.

use holdfast::domain::reservation::State;
use uuid::Uuid;

use super::database;
use crate::support::database::{CLEAR, Row, insert, minute, run};

fn update(row: &Row, what: &str) -> String {
    format!("update reservations set {what} where id = '{}'", row.id)
}

/// The assignments that move a row to other minutes.
fn times(start: f64, end: f64) -> String {
    let [start, end] = [start, end].map(minute);
    format!("start_at = '{start}', deadline_at = '{start}', end_at = '{end}', busy_until = '{end}'")
}

/// The columns that go with a state.
fn columns(state: State) -> String {
    let reason = if state == State::Cancelled { "'operator'" } else { "null" };
    let settled = if state.is_unsettled() { "null" } else { "now()" };
    let reconfirmed = if state == State::Reconfirmed { "now()" } else { "null" };
    format!(
        "state = '{state}', cancel_reason = {reason}, settled_at = {settled},
         reconfirmed_at = {reconfirmed}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn states_change_as_the_product_says() {
    let database = database(1).await;
    for &from in State::ALL {
        for &to in State::ALL {
            database.accepts(CLEAR).await;
            let row = Row { state: from.as_str(), ..Row::held(0., 60.) };
            database.accepts(&row.insert()).await;
            let change = update(&row, &columns(to));
            if from == to || from.can_become(to) {
                database.accepts(&change).await;
            } else {
                let refused = database.refuses("ZR003", &change).await;
                let words = format!("cannot go from {from} to {to}");
                assert!(refused.message.contains(&words), "{refused:?}");
            }
        }
    }
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_illegal_change_among_many_is_refused() {
    let database = database(9).await;
    let cancelled = Row { state: "cancelled", ..Row::held(0., 60.) };
    let rows = [Row::held(0., 60.), cancelled, Row::held(0., 60.)];
    database.accepts(&insert(&rows)).await;
    let all = format!("update reservations set {}", columns(State::Confirmed));
    database.refuses("ZR003", &all).await;
    let held: i64 = database.ask("select count(*) from reservations where state = 'held'").await;
    assert_eq!(held, 2);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_longer_or_moves_is_judged_again() {
    let database = database(1).await;
    let row = Row::held(60., 120.);
    let neighbours = [Row::held(0., 50.), Row::held(130., 200.)];
    database.accepts(&row.insert()).await;
    database.accepts(&insert(&neighbours)).await;
    for (start, end, fits) in [
        (50., 130., true),   // longer, and fits
        (49., 120., false),  // earlier
        (60., 131., false),  // later
        (100., 140., false), // moved over another, though not longer
        (60., 120., true),   // shorter
        (300., 400., true),  // moved where there is room
        (10., 20., false),
        (60., 120., true),
    ] {
        let change = update(&row, &times(start, end));
        if fits {
            database.accepts(&change).await;
        } else {
            database.refuses("ZR001", &change).await;
        }
    }
    let gap = format!("busy_until = '{}'", minute(131.));
    database.refuses("ZR001", &update(&row, &gap)).await;
    // Each row fits without the other; together they overlap.
    let longer = "update reservations set end_at = end_at + interval '11 min',
                      busy_until = busy_until + interval '11 min'";
    database.refuses("ZR001", longer).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_another_server_or_user_is_judged_there() {
    let database = database(1).await;
    database.server("mic", 1, 0).await;
    database.user("bob", Some(1_800)).await;
    let row = Row::held(0., 60.);
    let taken = Row { server: "mic", ..Row::held(30., 90.) };
    database.accepts(&insert(&[row.clone(), taken.clone()])).await;
    database.refuses("ZR001", &update(&row, "server_id = 'mic'")).await;
    database.refuses("ZR002", &update(&row, "user_id = 'bob', terminal_id = 'bob-t'")).await;
    // Checked once all rows are changed: two rows that swap places fit.
    database
        .accepts("update reservations set server_id = case server_id when 'cam' then 'mic' else 'cam' end")
        .await;
    database.accepts(&update(&taken, &times(0., 30.))).await;
    database.accepts(&update(&taken, "user_id = 'bob', terminal_id = 'bob-t'")).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_keeps_its_id() {
    let database = database(9).await;
    let row = Row::held(0., 60.);
    database.accepts(&row.insert()).await;
    let change = update(&row, "id = gen_random_uuid()");
    let refused = database.refuses("ZR003", &change).await;
    assert!(refused.message.contains("keeps its id"), "{refused:?}");

    // A cancelled row that took a live one's id would look as if it had always been live.
    // Rows are changed in their order on disk: the live one first makes room.
    let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
    let live = Row { id: b, ..Row::held(100., 160.) };
    let dead = Row { id: a, state: "cancelled", ..Row::held(200., 260.) };
    database.accepts(&insert(&[live, dead])).await;
    let shift = format!(
        "update reservations set id = case id when '{b}' then '{c}'::uuid else '{b}'::uuid end,
             state = 'held', cancel_reason = null, settled_at = null where id in ('{a}', '{b}')"
    );
    database.refuses("ZR003", &shift).await;
    let taken = run(&database.client, &update(&row, &format!("id = '{a}'"))).await;
    assert_eq!(taken.expect_err("taken").code, "23505");
    database.finish().await;
}

/// Only reservations that are over can be deleted.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_over_can_be_deleted() {
    let database = database(1).await;
    for state in ["held", "reconfirmed", "confirmed", "cancelled"] {
        database.accepts(&Row { state, ..Row::held(0., 60.) }.insert()).await;
        database.refuses("ZR003", "delete from reservations").await;
        let past = "update reservations set deadline_at = '2020-01-01Z', start_at = '2020-01-01Z',
            end_at = '2020-01-02Z', busy_until = '2020-01-02Z'";
        database.accepts(past).await;
        match state {
            "held" | "reconfirmed" => {
                database.refuses("ZR003", "delete from reservations").await;
                database.accepts(CLEAR).await;
            }
            _ => database.accepts("delete from reservations").await,
        }
    }
    database.finish().await;
}
