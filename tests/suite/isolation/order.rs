//! Locks that one statement takes: in one order, or two batches could wait for each other.
//!
//! A third session holds the middle one of three rows, so that a first batch stops halfway through
//! its locks. A second batch then wants the outer two, named the other way round. With one order
//! for everybody it waits behind the first; with any other each holds what the other one wants.

use holdfast::domain::input::{Action, Input};
use holdfast::message::answer::Answer;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{Arena, command, decide, open, request, sql_state, words};
use crate::support::database::{Row, insert, run};
use crate::support::facts;
use crate::support::schedule::Job;

/// Runs two jobs while a third session holds a lock, and lets go once both wait.
async fn halfway<T: Send + 'static>(arena: &Arena, hold: &str, jobs: [Job<T>; 2]) -> Vec<T> {
    let holder = arena.database.session().await;
    run(&holder, &format!("begin; {hold}")).await.expect("the lock is free");
    let mut running = Vec::new();
    for job in jobs {
        running.push(tokio::spawn(job));
        let expected = i64::try_from(running.len()).expect("few");
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        facts::until("it waits for a lock", async || {
            arena.database.ask::<i64>(waiting).await == expected
        })
        .await;
    }
    run(&holder, "rollback").await.expect("let go");
    let mut results = Vec::new();
    for job in running {
        results.push(job.await.expect("a job does not panic"));
    }
    results
}

fn batch(arena: &Arena, partition: i32, steps: Vec<Input>) -> Job<super::Decided> {
    let pool = open(&arena.database.url);
    Box::pin(async move { decide(&pool, partition, &steps).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_locked_in_one_order() {
    let arena = Arena::new(0).await;
    let (ann, bob) =
        (arena.database.user("ann", None).await, arena.database.user("bob", None).await);
    let mut servers = Vec::new();
    for id in ["a", "c", "e"] {
        servers.push(arena.database.server(id, 1, 0).await);
    }
    let [a, c, e] = &servers[..] else { unreachable!() };
    let first = vec![request(&ann, "1", e, 1), request(&ann, "2", c, 2), request(&ann, "3", a, 3)];
    let second = vec![request(&bob, "1", a, 3), request(&bob, "2", e, 1)];
    let hold = "select from servers where id = 'c' for no key update";
    let jobs = [batch(&arena, 0, first), batch(&arena, 0, second)];
    let words = words(&halfway(&arena, hold, jobs).await);
    assert_eq!(words[..3], ["accepted"; 3]);
    assert_eq!(words[3..], ["capacity_exceeded"; 2]);
    arena.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_locked_in_one_order() {
    let arena = Arena::new(0).await;
    let cam = arena.database.server("cam", 9, 0).await;
    let mic = arena.server(1, "mic", 9).await;
    let mut terminals = Vec::new();
    for id in ["a", "c", "e"] {
        terminals.push(arena.database.user(id, Some(3_600)).await);
    }
    let [a, c, e] = &terminals[..] else { unreachable!() };
    let first = [e, c, a].map(|terminal| request(terminal, "1", &cam, 1)).to_vec();
    let second = [a, e].map(|terminal| request(terminal, "2", &mic, 2)).to_vec();
    let hold = "select from users where id = 'c' for no key update";
    let jobs = [batch(&arena, 0, first), batch(&arena, 1, second)];
    let words = words(&halfway(&arena, hold, jobs).await);
    assert_eq!(words[..3], ["accepted"; 3]);
    assert_eq!(words[3..], ["quota_exceeded"; 2]);
    arena.finish().await;
}

/// Where limits decide, also those whose use a batch changes in another way than by a request.
#[tokio::test(flavor = "multi_thread")]
async fn users_refused_and_given_back_are_locked_in_one_order() {
    let arena = Arena::new(0).await;
    let mut servers = Vec::new();
    for (partition, id) in [(1, "of-a"), (0, "of-e"), (0, "cam"), (1, "mic")] {
        servers.push(arena.server(partition, id, 9).await);
    }
    let [of_a, of_e, cam, mic] = &servers[..] else { unreachable!() };
    let mut terminals = Vec::new();
    for id in ["a", "c", "e"] {
        terminals.push(arena.database.user(id, Some(3_600)).await);
    }
    let [a, c, e] = &terminals[..] else { unreachable!() };
    let mut given_back = Vec::new();
    for (partition, terminal, server) in [(1, a, of_a), (0, e, of_e)] {
        let held = arena.alone(partition, &[request(terminal, "held", server, 1)]).await;
        let [Answer::Accepted { reservation, .. }] = &held[..] else { panic!("{held:?}") };
        let withdraw = Action::Withdraw(reservation.id);
        given_back.push(command(terminal, "back", server, withdraw));
    }
    let [of_a, of_e] = given_back.try_into().expect("two");
    let first = vec![request(a, "more", cam, 2), request(c, "more", cam, 2), of_e];
    let second = vec![request(e, "more", mic, 2), of_a];
    let hold = "select from users where id = 'c' for no key update";
    let jobs = [batch(&arena, 0, first), batch(&arena, 1, second)];
    let words = words(&halfway(&arena, hold, jobs).await);
    assert_eq!(words, ["quota_exceeded", "accepted", "withdrawn", "accepted", "withdrawn"]);
    arena.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_ids_are_claimed_in_one_order() {
    let arena = Arena::new(0).await;
    let server = "nowhere".parse().expect("an id");
    let mut withdrawals = Vec::new();
    for id in ["a", "c", "e"] {
        let terminal = arena.database.user(id, None).await;
        let withdraw = Action::Withdraw(Uuid::from_u128(7));
        withdrawals.push(command(&terminal, "m", &server, withdraw));
    }
    let [a, c, e] = &withdrawals[..] else { unreachable!() };
    let first = [e, c, a].map(Input::clone).to_vec();
    let second = [a, e].map(Input::clone).to_vec();
    let hold = "insert into processed_commands values
        ('c-t', 'm', 'request', '', 'accepted', 'reservation.accepted', '{}', null, null, 1, now())";
    let jobs = [batch(&arena, 0, first), batch(&arena, 0, second)];
    let outcomes = halfway(&arena, hold, jobs).await;
    assert_eq!(words(&outcomes[..1]), ["unknown_reservation"; 3]);
    let late = outcomes[1].as_ref().expect_err("the first was faster");
    assert_eq!(sql_state(late), Some(&SqlState::UNIQUE_VIOLATION), "{late}");
    arena.finish().await;
}

/// The guard's own locks, for statements typed by hand.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_locks_in_one_order() {
    const ALL: [&str; 3] = ["e", "c", "a"];
    const OUTER: [&str; 2] = ["a", "e"];
    let arena = Arena::new(0).await;
    for id in ["a", "c", "e", "x", "y"] {
        arena.database.server(id, 9, 0).await;
        arena.database.user(id, None).await;
    }
    let typed = |rows: Vec<Row>| -> Job<_> {
        let (url, statement) = (arena.database.url.clone(), insert(&rows));
        Box::pin(
            async move { run(&crate::support::engines::connect(&url).await, &statement).await },
        )
    };
    let on = |server, user| Row { server, user, ..Row::held(0., 60.) };
    let of_servers = [
        typed(ALL.map(|server| on(server, "x")).to_vec()),
        typed(OUTER.map(|server| on(server, "y")).to_vec()),
    ];
    let of_users = [
        typed(ALL.map(|user| on("x", user)).to_vec()),
        typed(OUTER.map(|user| on("y", user)).to_vec()),
    ];
    for (table, jobs) in [("servers", of_servers), ("users", of_users)] {
        let hold = format!("select from {table} where id = 'c' for no key update");
        let [first, second] = &halfway(&arena, &hold, jobs).await[..] else { unreachable!() };
        assert_eq!(first.as_ref().ok(), Some(&3), "{table}: {first:?}");
        assert_eq!(second.as_ref().ok(), Some(&2), "{table}: {second:?}");
    }
    arena.finish().await;
}
