//! Two sessions at the same time, in every order of their statements.

use super::database;
use crate::support::database::{CLEAR, Database, Refused, Row, minute, run};
use crate::support::engines;
use crate::support::schedule::{Job, Race};

type Typed = Result<(), Refused>;

/// Runs statements in a session of its own, up to the first that is refused.
fn script(url: &str, statements: &[String]) -> Job<Typed> {
    let (url, statements) = (url.to_owned(), statements.to_vec());
    Box::pin(async move {
        let client = engines::connect(&url).await;
        for statement in statements {
            run(&client, &statement).await?;
        }
        Ok(())
    })
}

fn transaction(statement: String) -> Vec<String> {
    vec!["begin".to_owned(), statement, "commit".to_owned()]
}

/// Races two scripts in every order, each time from what `before` sets up, and hands each outcome to
/// `judge`.
async fn race(
    database: &Database,
    before: &str,
    scripts: [Vec<String>; 2],
    mut judge: impl FnMut([&Typed; 2], &str),
) {
    let mut race = Race::new(&database.url, 2).await;
    while race.next_order() {
        database.accepts(before).await;
        let jobs = race.gates.iter().zip(&scripts);
        let jobs = jobs.map(|(gate, statements)| script(gate.url(), statements)).collect();
        let outcomes = race.run(jobs).await;
        judge([&outcomes[0], &outcomes[1]], &race.order);
        database.assert_not_overbooked().await;
    }
    assert!(race.orders >= 4, "only {} orders", race.orders);
}

/// Exactly one is refused, with `code`; returns which one went through.
fn one_of(outcomes: [&Typed; 2], code: &str, order: &str) -> usize {
    match outcomes {
        [Ok(()), Err(refused)] if refused.code == code => 0,
        [Err(refused), Ok(())] if refused.code == code => 1,
        _ => panic!("{order}: {outcomes:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_inserts_for_one_place() {
    let database = database(1).await;
    let scripts = [(0., 60.), (30., 90.)].map(|(s, e)| transaction(Row::held(s, e).insert()));
    let mut won = [0; 2];
    race(&database, CLEAR, scripts, |outcomes, order| {
        won[one_of(outcomes, "ZR001", order)] += 1;
    })
    .await;
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_inserts_for_one_hour_of_quota() {
    let database = database(1).await;
    database.server("mic", 1, 0).await;
    database.user("bob", Some(3_600)).await;
    let row = |server| Row { user: "bob", server, ..Row::held(0., 60.) };
    let scripts = ["cam", "mic"].map(|server| transaction(row(server).insert()));
    let mut won = [0; 2];
    race(&database, CLEAR, scripts, |outcomes, order| {
        won[one_of(outcomes, "ZR002", order)] += 1;
    })
    .await;
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_and_a_longer_neighbour() {
    let database = database(1).await;
    let booked = Row::held(0., 30.);
    let before = format!("{CLEAR}; {}", booked.insert());
    let end = minute(60.);
    let lengthen = format!(
        "update reservations set end_at = '{end}', busy_until = '{end}' where id = '{}'",
        booked.id
    );
    let scripts = [transaction(lengthen), transaction(Row::held(45., 90.).insert())];
    let mut won = [0; 2];
    race(&database, &before, scripts, |outcomes, order| {
        won[one_of(outcomes, "ZR001", order)] += 1;
    })
    .await;
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_and_a_lower_capacity() {
    let database = database(2).await;
    let before =
        format!("{CLEAR}; update servers set capacity = 2; {}", Row::held(0., 60.).insert());
    let lower = "update servers set capacity = 1".to_owned();
    let scripts = [transaction(Row::held(30., 90.).insert()), transaction(lower)];
    let mut won = [0; 2];
    race(&database, &before, scripts, |outcomes, order| {
        won[one_of(outcomes, "ZR001", order)] += 1;
    })
    .await;
    assert!(won[0] > 0 && won[1] > 0, "{won:?}");
    database.finish().await;
}

/// With a snapshot from before the insert, the lowering would miss the new reservation.
#[tokio::test(flavor = "multi_thread")]
async fn an_insert_and_a_lower_capacity_with_an_old_snapshot() {
    let database = database(2).await;
    let before =
        format!("{CLEAR}; update servers set capacity = 2; {}", Row::held(0., 60.).insert());
    let lower = [
        "begin isolation level repeatable read",
        "select capacity from servers",
        "update servers set capacity = 1",
        "commit",
    ];
    let scripts = [transaction(Row::held(30., 90.).insert()), lower.map(str::to_owned).to_vec()];
    race(&database, &before, scripts, |outcomes, order| {
        assert_eq!(one_of(outcomes, "ZR001", order), 0, "{order}");
    })
    .await;
    database.finish().await;
}
