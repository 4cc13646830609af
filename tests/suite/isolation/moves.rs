//! A server that moves: the fence in its old partition races with batches of both partitions (R9, R10).

use holdfast::domain::input::{Fence, Input};
use holdfast::engine::BatchError;
use uuid::Uuid;

use super::settlements::Due;
use super::{Arena, request, wake_up, words};
use crate::support::database::Database;
use crate::support::gate::Phases;
use crate::support::schedule::Race;

/// A due hold of a server whose fence is published.
struct Leaving {
    due: Due,
    to: i32,
    fence: Uuid,
}

impl Leaving {
    /// Makes one, on its way to the next partition.
    async fn new(arena: &Arena) -> Self {
        // Nobody publishes, and orders are many: what was to be told must not look forgotten.
        arena.database.accepts("delete from outbox").await;
        let due = Due::new(arena).await;
        let (from, to, server) = (due.partition, due.partition + 1, &due.server);
        let fence = Uuid::new_v4();
        let begin = format!(
            "insert into moves (server_id, from_partition, to_partition, fence, phase)
             values ('{server}', {from}, {to}, '{fence}', 'fencing')"
        );
        arena.database.accepts(&begin).await;
        Self { due, to, fence }
    }

    /// The batch with the fence, in the old partition.
    fn fence(&self) -> (i32, Vec<Input>) {
        let fence = Fence { server: self.due.server.clone(), id: self.fence };
        (self.due.partition, vec![Input::Fence(fence)])
    }

    fn wake_up(&self) -> Vec<Input> {
        vec![wake_up(self.due.deadline)]
    }

    async fn state(&self, arena: &Arena) -> String {
        let state = format!("select state from reservations where id = '{}'", self.due.id);
        arena.database.ask(&state).await
    }

    /// Asserts that server, unsettled reservations and their instants are in the new partition, and
    /// that the move is over.
    async fn assert_moved(&self, arena: &Arena) {
        let (server, to) = (&self.due.server, self.to);
        let where_is = format!("select partition from servers where id = '{server}'");
        assert_eq!(arena.database.ask::<i32>(&where_is).await, to, "{}", arena.race.order);
        let left = format!(
            "select count(*) from reservations r where server_id = '{server}'
             and state in ('held', 'reconfirmed') and (partition <> {to} or not exists (
                 select from timers t where t.partition = {to} and t.due_at = r.deadline_at))"
        );
        let open = format!("select count(*) from moves where server_id = '{server}'");
        for nothing in [left, open] {
            assert_eq!(arena.database.ask::<i64>(&nothing).await, 0, "{}", arena.race.order);
        }
    }
}

/// What stands in the new queue waits for the fence, and is decided behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_and_a_reconfirmation_in_the_new_partition() {
    let mut arena = Arena::new(2).await;
    let (mut early, mut decided) = (0, 0);
    while arena.race.next_order() {
        let leaving = Leaving::new(&arena).await;
        let reconfirm = || vec![leaving.due.reconfirm()];
        let outcomes = arena.race(vec![leaving.fence(), (leaving.to, reconfirm())]).await;
        leaving.assert_moved(&arena).await;
        match &outcomes[1] {
            Err(BatchError::Early(0)) => {
                let again = arena.alone(leaving.to, &reconfirm()).await;
                assert_eq!(again[0].outcome(), "reconfirmed", "{}", arena.race.order);
                early += 1;
            }
            outcome => {
                assert_eq!(words(std::slice::from_ref(outcome)), ["reconfirmed"]);
                decided += 1;
            }
        }
        // Late, and in time all the same.
        arena.alone(leaving.to, &leaving.wake_up()).await;
        leaving.due.assert_confirmed_once(&arena).await;
    }
    assert!(early > 0 && decided > 0, "{early} early, {decided} decided");
    arena.finish().await;
}

/// The wake-up may find the server that it has not locked. It is settled by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_and_a_settlement_in_the_new_partition() {
    let mut arena = Arena::new(2).await;
    let (mut settled, mut waiting) = (0, 0);
    while arena.race.next_order() {
        let leaving = Leaving::new(&arena).await;
        for outcome in arena.race(vec![leaving.fence(), (leaving.to, leaving.wake_up())]).await {
            outcome.expect("decided");
        }
        match leaving.state(&arena).await.as_str() {
            "held" => {
                waiting += 1;
                let whereabouts =
                    format!("select partition from reservations where id = '{}'", leaving.due.id);
                assert_eq!(arena.database.ask::<i32>(&whereabouts).await, leaving.to);
            }
            _ => settled += 1,
        }
        arena.alone(leaving.to, &leaving.wake_up()).await;
        leaving.due.assert_cancelled_once(&arena, &["reservation.cancelled"]).await;
    }
    assert!(settled > 0 && waiting > 0, "{settled} settled, {waiting} waiting");
    arena.finish().await;
}

/// A reconfirmation may stand in the new queue alone, so the old partition settles nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_and_a_settlement_in_the_old_partition() {
    let database = Database::new().await;
    let race = Race::in_phases(&database.url, 2, Phases::Coarse).await;
    let mut arena = Arena::with(database, race);
    while arena.race.next_order() {
        let leaving = Leaving::new(&arena).await;
        let former_owner = (leaving.due.partition, leaving.wake_up());
        for outcome in arena.race(vec![leaving.fence(), former_owner]).await {
            outcome.expect("decided");
        }
        assert_eq!(leaving.state(&arena).await, "held", "{}", arena.race.order);
        leaving.assert_moved(&arena).await;
        let answers = arena.alone(leaving.to, &[leaving.due.reconfirm()]).await;
        assert_eq!(answers[0].outcome(), "reconfirmed");
        arena.alone(leaving.to, &leaving.wake_up()).await;
        leaving.due.assert_confirmed_once(&arena).await;
    }
    arena.finish().await;
}

/// Ahead of the fence it is accepted and moves along; behind it, it leaves no trace.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_and_a_request_in_the_old_partition() {
    let mut arena = Arena::new(2).await;
    let (mut accepted, mut refused) = (0, 0);
    while arena.race.next_order() {
        let leaving = Leaving::new(&arena).await;
        let steps = || vec![request(&leaving.due.terminal, "next", &leaving.due.server, 12)];
        let former_owner = (leaving.due.partition, steps());
        let outcomes = arena.race(vec![leaving.fence(), former_owner]).await;
        outcomes[0].as_ref().expect("the fence is read");
        leaving.assert_moved(&arena).await;
        match words(&outcomes).as_slice() {
            [word] if word == "accepted" => accepted += 1,
            [word] if word == "wrong_partition" => {
                let again = arena.alone(leaving.to, &steps()).await;
                assert_eq!(again[0].outcome(), "accepted", "{}", arena.race.order);
                refused += 1;
            }
            other => panic!("{}: {other:?}", arena.race.order),
        }
        arena.alone(leaving.to, &leaving.wake_up()).await;
        leaving.due.assert_cancelled_once(&arena, &["reservation.cancelled"]).await;
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    arena.finish().await;
}

/// A former owner and its successor read the same fence. The second one changes nothing, nor does one
/// that is read again much later.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_and_the_same_fence() {
    let mut arena = Arena::new(2).await;
    while arena.race.next_order() {
        let leaving = Leaving::new(&arena).await;
        for outcome in arena.race(vec![leaving.fence(), leaving.fence()]).await {
            outcome.expect("decided");
        }
        leaving.assert_moved(&arena).await;
        arena.alone(leaving.to, &leaving.wake_up()).await;
        leaving.due.assert_cancelled_once(&arena, &["reservation.cancelled"]).await;

        let (server, from, to) = (&leaving.due.server, leaving.due.partition, leaving.to);
        let back = format!("update servers set partition = {from} where id = '{server}'");
        arena.database.accepts(&back).await;
        let begin = format!(
            "insert into moves (server_id, from_partition, to_partition, fence, phase)
             values ('{server}', {from}, {to}, gen_random_uuid(), 'fencing')"
        );
        arena.database.accepts(&begin).await;
        let (partition, stale) = leaving.fence();
        arena.alone(partition, &stale).await;
        let where_is = format!("select partition from servers where id = '{server}'");
        assert_eq!(arena.database.ask::<i32>(&where_is).await, from, "{}", arena.race.order);
        let over = format!("delete from moves where server_id = '{server}'");
        arena.database.accepts(&over).await;
    }
    arena.finish().await;
}
