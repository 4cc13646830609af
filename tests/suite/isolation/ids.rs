//! The same message id in two sessions at once (P2): a partition's former owner and its new one.

use holdfast::domain::input::{Action, Input};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{Arena, Decided, command, decide, names, replies, request, sql_state};

/// How many sessions found the stored answer, and how many only when they tried again.
#[derive(Default)]
struct Tally {
    found: usize,
    tried_again: usize,
}

impl Tally {
    /// Asserts that both sessions end up with the same bytes, however they came by them.
    async fn check(&mut self, arena: &Arena, outcomes: Vec<Decided>, steps: &[Input]) {
        let mut bodies: Vec<Vec<String>> = Vec::new();
        for outcome in outcomes {
            let outcome = match outcome {
                Ok(reactions) => Ok(reactions),
                Err(error) => {
                    let state = sql_state(&error);
                    assert_eq!(state, Some(&SqlState::UNIQUE_VIOLATION), "{error}");
                    self.tried_again += 1;
                    decide(&arena.direct, 0, steps).await
                }
            };
            let mut all: Vec<String> =
                replies(&outcome).iter().map(|reply| reply.body.clone()).collect();
            all.sort();
            bodies.push(all);
        }
        self.found += 1;
        assert_eq!(bodies[0], bodies[1], "{}", arena.race.order);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_decided_once() {
    let mut arena = Arena::new(2).await;
    let mut tally = Tally::default();
    while arena.race.next_order() {
        let [server, ann] = names(arena.race.orders, ["cam", "ann"]);
        // Two places, so that only its id keeps the request from being accepted twice.
        let server = arena.database.server(&server, 2, 0).await;
        let ann = arena.database.user(&ann, None).await;
        let steps = || vec![request(&ann, "m", &server, 10)];
        let outcomes = arena.race(vec![(0, steps()), (0, steps())]).await;
        tally.check(&arena, outcomes, &steps()).await;
        let held = format!("select count(*) from reservations where server_id = '{server}'");
        assert_eq!(arena.database.ask::<i64>(&held).await, 1, "{}", arena.race.order);
    }
    assert_eq!(tally.tried_again, 0, "the server's lock lets the second find the first's answer");
    arena.finish().await;
}

/// What names neither a server nor a reservation that exists locks nothing: only the key itself
/// stands between the two.
#[tokio::test(flavor = "multi_thread")]
async fn what_locks_nothing_is_decided_once() {
    let mut arena = Arena::new(2).await;
    let mut tally = Tally::default();
    while arena.race.next_order() {
        let [ann, bob] = names(arena.race.orders, ["ann", "bob"]);
        let server = "nowhere".parse().expect("an id");
        let ann = arena.database.user(&ann, None).await;
        let bob = arena.database.user(&bob, None).await;
        let withdraw =
            |terminal| command(terminal, "m", &server, Action::Withdraw(Uuid::from_u128(7)));
        // In opposite order: keys are inserted sorted, so this does not deadlock either.
        let batches = vec![
            (0, vec![withdraw(&ann), withdraw(&bob)]),
            (0, vec![withdraw(&bob), withdraw(&ann)]),
        ];
        let again = batches[0].1.clone();
        let outcomes = arena.race(batches).await;
        tally.check(&arena, outcomes, &again).await;
        let stored = format!(
            "select count(*) from processed_commands where terminal_id in ('{ann}', '{bob}')"
        );
        assert_eq!(arena.database.ask::<i64>(&stored).await, 2, "{}", arena.race.order);
    }
    assert!(tally.tried_again > 0, "no order in which both decide");
    assert!(tally.tried_again < tally.found, "no order in which one finds the other's answer");
    arena.finish().await;
}

/// The same id with another body, at the same time: one of the two is refused and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_for_two_requests_is_decided_for_one() {
    let mut arena = Arena::new(2).await;
    while arena.race.next_order() {
        let [server, ann] = names(arena.race.orders, ["cam", "ann"]);
        let server = arena.database.server(&server, 2, 0).await;
        let ann = arena.database.user(&ann, None).await;
        let mut other = request(&ann, "m", &server, 20);
        if let Input::Command(command) = &mut other {
            command.digest = [9; 32];
        }
        let batches = vec![(0, vec![request(&ann, "m", &server, 10)]), (0, vec![other])];
        let outcomes = arena.race(batches).await;
        super::assert_one_wins(&outcomes, "idempotency_mismatch", &arena.race.order);
    }
    arena.finish().await;
}
