//! Races for the last place of a server and for the last hour of a quota (P1).

use holdfast::domain::id::ServerId;
use holdfast::domain::input::Action;
use holdfast::message::answer::Answer;
use holdfast::store::admin::servers::{ServerChange, update_server};

use super::{Arena, answers, assert_one_wins, command, names, request, words};
use crate::support::database::{Database, refused};
use crate::support::engines;
use crate::support::gate::Phases;
use crate::support::schedule::{Job, Race};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_place_of_a_server_goes_to_one() {
    race_for_a_place(2, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_place_of_a_server_goes_to_one_of_three() {
    race_for_a_place(3, 100).await;
}

/// One place, and as many users as sessions.
async fn race_for_a_place(sessions: usize, orders_min: usize) {
    let mut arena = Arena::new(sessions).await;
    while arena.race.next_order() {
        let [server] = names(arena.race.orders, ["cam"]);
        let server = arena.database.server(&server, 1, 0).await;
        let mut batches = Vec::new();
        for session in 0..sessions {
            let user = format!("ann{session}-{}", arena.race.orders);
            let terminal = arena.database.user(&user, None).await;
            batches.push((0, vec![request(&terminal, "m", &server, 10)]));
        }
        let outcomes = arena.race(batches).await;
        assert_one_wins(&outcomes, "capacity_exceeded", &arena.race.order);
    }
    assert!(arena.race.orders >= orders_min, "only {} orders", arena.race.orders);
    arena.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hour_of_a_quota_goes_to_one() {
    race_for_an_hour(Arena::new(2).await, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_hour_of_a_quota_goes_to_one_of_three() {
    // All three read before one of them writes: users are locked late.
    let database = Database::new().await;
    let race = Race::in_phases(&database.url, 3, Phases::Writes).await;
    race_for_an_hour(Arena::with(database, race), 100).await;
}

/// One hour of quota; every session asks for another hour of another server in another partition.
async fn race_for_an_hour(mut arena: Arena, orders_min: usize) {
    let sessions = arena.pools.len();
    while arena.race.next_order() {
        let [user] = names(arena.race.orders, ["ann"]);
        let terminal = arena.database.user(&user, Some(3_600)).await;
        let mut batches = Vec::new();
        for session in 0..3.min(sessions) {
            let server = format!("cam{session}-{}", arena.race.orders);
            let (partition, message_id) =
                (i32::try_from(session).expect("few"), session.to_string());
            let server = arena.server(partition, &server, 1).await;
            let steps = vec![request(&terminal, &message_id, &server, 10 + i64::from(partition))];
            batches.push((partition, steps));
        }
        let outcomes = arena.race(batches).await;
        assert_one_wins(&outcomes, "quota_exceeded", &arena.race.order);
    }
    assert!(arena.race.orders >= orders_min, "only {} orders", arena.race.orders);
    arena.finish().await;
}

/// What one command of a batch gives back, the next one gets: a place, an hour of quota, a hold. The
/// guard sees each statement of a batch for itself, and must find nothing to object to.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_given_back_is_given_away_in_the_same_batch() {
    let arena = Arena::new(1).await;
    let server = arena.database.server("cam", 1, 0).await;
    let terminal = arena.database.user("ann", Some(3_600)).await;
    arena.database.client.batch_execute("update users set holds_max = 1").await.expect("a limit");
    let held = arena.alone(0, &[request(&terminal, "first", &server, 10)]).await;
    let [Answer::Accepted { reservation, .. }] = &held[..] else { panic!("{held:?}") };
    let withdraw = Action::Withdraw(reservation.id);
    let batch =
        [command(&terminal, "back", &server, withdraw), request(&terminal, "second", &server, 10)];
    let answers = arena.alone(0, &batch).await;
    let outcomes: Vec<&str> = answers.iter().map(|answer| answer.outcome()).collect();
    assert_eq!(outcomes, ["withdrawn", "accepted"]);
    arena.assert_sound().await;
    arena.finish().await;
}

/// Two batches that name the same two servers in opposite order.
#[tokio::test(flavor = "multi_thread")]
async fn servers_named_crosswise_do_not_deadlock() {
    let mut arena = Arena::new(2).await;
    while arena.race.next_order() {
        let [x, y, ann, bob] = names(arena.race.orders, ["x", "y", "ann", "bob"]);
        let (x, y) = (arena.database.server(&x, 1, 0).await, arena.database.server(&y, 1, 0).await);
        let ann = arena.database.user(&ann, None).await;
        let bob = arena.database.user(&bob, None).await;
        let first = vec![request(&ann, "1", &x, 10), request(&ann, "2", &y, 10)];
        let second = vec![request(&bob, "1", &y, 10), request(&bob, "2", &x, 10)];
        let outcomes = arena.race(vec![(0, first), (0, second)]).await;
        let mut words = words(&outcomes);
        words.sort();
        let expected = ["accepted", "accepted", "capacity_exceeded", "capacity_exceeded"];
        assert_eq!(words, expected, "{}", arena.race.order);
    }
    arena.finish().await;
}

/// Two batches of different servers that name the same two users in opposite order.
#[tokio::test(flavor = "multi_thread")]
async fn users_named_crosswise_do_not_deadlock() {
    let mut arena = Arena::new(2).await;
    while arena.race.next_order() {
        let [v, w, x, y, ann, bob] = names(arena.race.orders, ["v", "w", "x", "y", "ann", "bob"]);
        let mut servers: Vec<ServerId> = Vec::new();
        for (partition, server) in [(0, v), (0, w), (1, x), (1, y)] {
            servers.push(arena.server(partition, &server, 1).await);
        }
        let ann = arena.database.user(&ann, Some(3_600)).await;
        let bob = arena.database.user(&bob, Some(3_600)).await;
        let first = vec![request(&ann, "1", &servers[0], 10), request(&bob, "1", &servers[1], 10)];
        let second = vec![request(&bob, "2", &servers[2], 11), request(&ann, "2", &servers[3], 11)];
        let outcomes = arena.race(vec![(0, first), (1, second)]).await;
        let mut words = words(&outcomes);
        words.sort();
        let expected = ["accepted", "accepted", "quota_exceeded", "quota_exceeded"];
        assert_eq!(words, expected, "{}", arena.race.order);
    }
    arena.finish().await;
}

/// Two places, one taken: a request for the other one while an operator takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_taken_or_taken_away() {
    let mut arena = Arena::new(2).await;
    let (mut taken, mut taken_away) = (0, 0);
    while arena.race.next_order() {
        let [server, ann] = names(arena.race.orders, ["cam", "ann"]);
        let server = arena.database.server(&server, 2, 0).await;
        let ann = arena.database.user(&ann, None).await;
        arena.alone(0, &[request(&ann, "1", &server, 10)]).await;

        let steps = vec![request(&ann, "2", &server, 10)];
        let (pool, url) = (arena.pools[0].clone(), arena.race.gates[1].url().to_owned());
        let request: Job<_> = Box::pin(async move {
            let outcome = super::decide(&pool, 0, &steps).await;
            Ok(answers(&outcome).remove(0).outcome().to_owned())
        });
        let lower: Job<_> = Box::pin(async move {
            let client = engines::connect(&url).await;
            let one = ServerChange { capacity: Some(1), ..ServerChange::default() };
            match update_server(&client, &server, &one).await {
                Ok(_) => Ok("lowered".to_owned()),
                Err(holdfast::store::error::StoreError::Postgres(error)) => Err(refused(error)),
                Err(other) => panic!("{other}"),
            }
        });
        let outcomes = arena.race.run(vec![request, lower]).await;
        match (&outcomes[0], &outcomes[1]) {
            (Ok(word), Err(refused)) if word == "accepted" && refused.code == "ZR001" => taken += 1,
            (Ok(word), Ok(_)) if word == "capacity_exceeded" => taken_away += 1,
            _ => panic!("{}: {outcomes:?}", arena.race.order),
        }
        arena.assert_sound().await;
    }
    assert!(taken > 0 && taken_away > 0, "{taken} taken, {taken_away} taken away");
    arena.finish().await;
}
