//! Settlements that race commands and each other (R8 to R11, P3).

use chrono::{DateTime, Utc};
use holdfast::domain::id::{ServerId, TerminalId};
use holdfast::domain::input::Action;
use holdfast::message::answer::Answer;
use holdfast::store::needs::SETTLE_MAX;
use uuid::Uuid;

use super::{Arena, command, names, request, wake_up, words};

/// How many partitions there may be, but for one.
const PARTITIONS: usize = 255;

/// A hold whose deadline has come.
pub(super) struct Due {
    pub terminal: TerminalId,
    pub server: ServerId,
    pub partition: i32,
    pub id: Uuid,
    pub deadline: DateTime<Utc>,
}

impl Due {
    /// Makes one, in a partition in which nothing else is due.
    pub async fn new(arena: &Arena) -> Self {
        let order = arena.race.orders;
        let [server, ann] = names(order, ["cam", "ann"]);
        let partition = i32::try_from(order % PARTITIONS).expect("few");
        let server = arena.server(partition, &server, 1).await;
        let terminal = arena.database.user(&ann, None).await;
        let answers = arena.alone(partition, &[request(&terminal, "hold", &server, 10)]).await;
        let Answer::Accepted { reservation, .. } = &answers[0] else { panic!("{answers:?}") };
        let deadline = arena
            .database
            .ask(&format!(
                "update reservations set deadline_at = date_trunc('second', clock_timestamp())
                 where id = '{}' returning deadline_at",
                reservation.id
            ))
            .await;
        Self { terminal, server, partition, id: reservation.id, deadline }
    }

    /// Puts a batch's worth of holds of another server before it in the line, all due.
    async fn crowd(&self, arena: &Arena) {
        let (server, terminal) = (format!("crowd-{}", arena.race.orders), &self.terminal);
        arena.server(self.partition, &server, 10_000).await;
        arena.database.accepts("update users set holds_max = 10000").await;
        let holds = format!(
            "with held as (
                insert into reservations (id, terminal_id, message_id, user_id, server_id, partition,
                    start_at, end_at, busy_until, deadline_at, state, price_minor, currency,
                    tariff_version, held_at)
                select gen_random_uuid(), '{terminal}', 'crowd-' || i, user_id, '{server}', {},
                    start_at + i * interval '1 s', start_at + (i + 1) * interval '1 s',
                    start_at + (i + 1) * interval '1 s', deadline_at - interval '1 s', 'held', 0, 'EUR', 1, held_at
                from reservations, generate_series(1, {SETTLE_MAX}) i where id = '{}'
                returning *
            ), lines as (
                insert into history (seq, reservation_id, to_state, actor, trigger, server_id, at)
                select 0, id, 'held', 'terminal', 'command', server_id, held_at from held
            )
            insert into processed_commands select terminal_id, message_id, 'request', '', 'accepted',
                'reservation.accepted', '', server_id, id, 0, held_at from held",
            self.partition, self.id
        );
        arena.database.accepts(&holds).await;
    }

    pub fn reconfirm(&self) -> super::Input {
        command(&self.terminal, "reconfirm", &self.server, Action::Reconfirm(self.id))
    }

    fn withdraw(&self) -> super::Input {
        command(&self.terminal, "withdraw", &self.server, Action::Withdraw(self.id))
    }

    /// State, charges, and what was told to the world and to the terminal.
    async fn told(&self, arena: &Arena) -> (String, i64, Vec<String>, Vec<String>) {
        let id = self.id;
        let state = format!("select state from reservations where id = '{id}'");
        let charges = format!("select count(*) from billing_entries where reservation_id = '{id}'");
        let told = |kind| {
            format!(
                "select coalesce(array_agg(type order by type), '{{}}') from outbox_messages
                 where kind = '{kind}' and body like '%{id}%'"
            )
        };
        let database = &arena.database;
        (
            database.ask(&state).await,
            database.ask(&charges).await,
            database.ask(&told("event")).await,
            database.ask(&told("notice")).await,
        )
    }

    /// Asserts that it was confirmed, billed and told once.
    pub async fn assert_confirmed_once(&self, arena: &Arena) {
        let (state, charges, events, notices) = self.told(arena).await;
        assert_eq!((state.as_str(), charges), ("confirmed", 1), "{}", arena.race.order);
        assert_eq!(events, ["reservation.confirmed"], "{}", arena.race.order);
        assert_eq!(notices, ["reservation.confirmed"], "{}", arena.race.order);
    }

    /// Asserts that it was cancelled and told once, free of charge.
    pub async fn assert_cancelled_once(&self, arena: &Arena, notices: &[&str]) {
        let (state, charges, events, told) = self.told(arena).await;
        assert_eq!((state.as_str(), charges), ("cancelled", 0), "{}", arena.race.order);
        assert_eq!(events, ["reservation.cancelled"], "{}", arena.race.order);
        assert_eq!(told, notices, "{}", arena.race.order);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_and_a_reconfirmation() {
    let mut arena = Arena::new(2).await;
    let (mut confirmed, mut cancelled) = (0, 0);
    while arena.race.next_order() {
        let due = Due::new(&arena).await;
        let outcomes = arena
            .race(vec![
                (due.partition, vec![wake_up(due.deadline)]),
                (due.partition, vec![due.reconfirm()]),
            ])
            .await;
        outcomes[0].as_ref().expect("settled");
        match words(&outcomes).as_slice() {
            [word] if word == "reconfirmed" => {
                due.assert_confirmed_once(&arena).await;
                confirmed += 1;
            }
            [word] if word == "already_cancelled" => {
                due.assert_cancelled_once(&arena, &["reservation.cancelled"]).await;
                cancelled += 1;
            }
            other => panic!("{}: {other:?}", arena.race.order),
        }
    }
    assert!(confirmed > 0 && cancelled > 0, "{confirmed} confirmed, {cancelled} cancelled");
    arena.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_and_the_same_settlement() {
    for reconfirmed in [true, false] {
        let mut arena = Arena::new(2).await;
        while arena.race.next_order() {
            let due = Due::new(&arena).await;
            if reconfirmed {
                arena.alone(due.partition, &[due.reconfirm()]).await;
            }
            let settlement = || (due.partition, vec![wake_up(due.deadline)]);
            for outcome in arena.race(vec![settlement(), settlement()]).await {
                outcome.expect("settled");
            }
            if reconfirmed {
                due.assert_confirmed_once(&arena).await;
            } else {
                due.assert_cancelled_once(&arena, &["reservation.cancelled"]).await;
            }
        }
        arena.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_and_a_withdrawal() {
    let mut arena = Arena::new(2).await;
    let (mut withdrawn, mut confirmed) = (0, 0);
    while arena.race.next_order() {
        let due = Due::new(&arena).await;
        arena.alone(due.partition, &[due.reconfirm()]).await;
        let outcomes = arena
            .race(vec![
                (due.partition, vec![wake_up(due.deadline)]),
                (due.partition, vec![due.withdraw()]),
            ])
            .await;
        outcomes[0].as_ref().expect("settled");
        match words(&outcomes).as_slice() {
            [word] if word == "withdrawn" => {
                // The terminal is told by its answer.
                due.assert_cancelled_once(&arena, &[]).await;
                withdrawn += 1;
            }
            [word] if word == "already_confirmed" => {
                due.assert_confirmed_once(&arena).await;
                confirmed += 1;
            }
            other => panic!("{}: {other:?}", arena.race.order),
        }
    }
    assert!(withdrawn > 0 && confirmed > 0, "{withdrawn} withdrawn, {confirmed} confirmed");
    arena.finish().await;
}

/// The place that a settlement frees, or not yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_and_a_request_for_its_place() {
    let mut arena = Arena::new(2).await;
    let (mut accepted, mut refused) = (0, 0);
    while arena.race.next_order() {
        let due = Due::new(&arena).await;
        let steps = vec![request(&due.terminal, "next", &due.server, 10)];
        let outcomes = arena
            .race(vec![(due.partition, vec![wake_up(due.deadline)]), (due.partition, steps)])
            .await;
        due.assert_cancelled_once(&arena, &["reservation.cancelled"]).await;
        match words(&outcomes).as_slice() {
            [word] if word == "accepted" => accepted += 1,
            [word] if word == "capacity_exceeded" => refused += 1,
            other => panic!("{}: {other:?}", arena.race.order),
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    arena.finish().await;
}

/// More is due than one batch settles. Which servers that concerns is asked before the locks; what
/// is due is asked again behind them, and by then the first slice may be somebody else's work.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_is_settled_with_its_servers_in_hand() {
    let mut arena = Arena::new(2).await;
    // One after the other, then the second begins just before the first commits. Rows are many, so
    // no other orders, and no invariants.
    for _ in 0..2 {
        assert!(arena.race.next_order());
        let due = Due::new(&arena).await;
        arena.alone(due.partition, &[due.reconfirm()]).await;
        due.crowd(&arena).await;
        let settlement = || (due.partition, vec![wake_up(due.deadline)]);
        for outcome in arena.race_unchecked(vec![settlement(), settlement()]).await {
            outcome.expect("settled");
        }
        // Whoever has not got to it yet does so with the next wake-up.
        arena.alone(due.partition, &settlement().1).await;
        due.assert_confirmed_once(&arena).await;
        let untold = "select count(*) from outbox_messages where type = 'reservation.confirmed'
            and kind = 'notice' and body::json #>> '{reservation,connection,url}' is null";
        assert_eq!(arena.database.ask::<i64>(untold).await, 0, "{}", arena.race.order);
    }
    arena.finish().await;
}

/// The server never hears of it, so it does not abort the transaction by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_cannot_be_sent_commits_nothing() {
    let arena = Arena::new(1).await;
    let due = Due::new(&arena).await;
    let retype =
        |to: &str| format!("alter table timers alter partition type {to} using partition::{to}");
    arena.database.accepts(&retype("text")).await;
    // A session that prepares its statements for the table as it is now.
    let pool = super::open(&arena.database.url);
    let outcome = super::decide(&pool, due.partition, &[wake_up(due.deadline)]).await;
    let error = outcome.expect_err("the partition is sent as a number").to_string();
    assert!(error.contains("serializing parameter"), "{error}");
    let state = format!("select state from reservations where id = '{}'", due.id);
    assert_eq!(arena.database.ask::<String>(&state).await, "held");
    pool.close();
    arena.database.accepts(&retype("integer")).await;
    arena.finish().await;
}
