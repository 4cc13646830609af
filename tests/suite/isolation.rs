//! Racing sessions in every order of their locks, reads, writes and commits.
//!
//! The sessions run the product's own transaction, `engine::decide_batch`, unchanged; gates in front
//! of PostgreSQL let its statements through in one order after the other (`support::schedule`).
//! In a healthy installation a partition has one owner. What races here is a former owner that
//! still commits what it has in hand, other partitions of the same user, the two partitions of a
//! server that moves, and operators.

mod ids;
mod moves;
mod order;
mod places;
mod settlements;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use holdfast::domain::id::{ServerId, TerminalId};
use holdfast::domain::input::{Action, Command, Input, Trigger, WakeUp};
use holdfast::domain::interval::Interval;
use holdfast::engine::render::{Reaction, Reply};
use holdfast::engine::{BatchError, decide_batch};
use holdfast::message::answer::Answer;
use holdfast::message::deterministic_id;
use holdfast::store::pool;
use holdfast::store::pool::Pool;
use tokio_postgres::error::SqlState;

use crate::support::database::Database;
use crate::support::schedule::{Job, Race};
use crate::support::terminal::code;

/// What became of a batch.
type Decided = Result<Vec<Reaction>, BatchError>;

/// Sessions that race in a database of their own.
struct Arena {
    database: Database,
    race: Race,
    pools: Vec<Pool>,
    /// Not behind a gate: for what comes before and after a race.
    direct: Pool,
}

impl Arena {
    async fn new(sessions: usize) -> Self {
        let database = Database::new().await;
        let race = Race::new(&database.url, sessions).await;
        Self::with(database, race)
    }

    fn with(database: Database, race: Race) -> Self {
        let pools = race.gates.iter().map(|gate| open(gate.url())).collect();
        let direct = open(&database.url);
        Self { database, race, pools, direct }
    }

    /// A server whose commands are decided in a partition.
    async fn server(&self, partition: i32, id: &str, capacity: i32) -> ServerId {
        let server = self.database.server(id, capacity, 0).await;
        let place = format!("update servers set partition = {partition} where id = '{id}'");
        self.database.accepts(&place).await;
        server
    }

    /// Decides one batch per session, in the present order. Nothing may be violated afterwards.
    async fn race(&mut self, batches: Vec<(i32, Vec<Input>)>) -> Vec<Decided> {
        let outcomes = self.race_unchecked(batches).await;
        self.assert_sound().await;
        outcomes
    }

    async fn race_unchecked(&mut self, batches: Vec<(i32, Vec<Input>)>) -> Vec<Decided> {
        // A new connection asks the server something first, which is no part of any order.
        for (gate, pool) in self.race.gates.iter().zip(&self.pools) {
            gate.set_open(true);
            drop(pool.get().await.expect("a connection"));
        }
        let jobs = self.pools.iter().zip(batches).map(|(pool, (partition, steps))| -> Job<_> {
            let pool = pool.clone();
            Box::pin(async move { decide(&pool, partition, &steps).await })
        });
        self.race.run(jobs.collect()).await
    }

    /// Decides a batch with nobody in the way, and returns its answers.
    async fn alone(&self, partition: i32, steps: &[Input]) -> Vec<Answer> {
        answers(&decide(&self.direct, partition, steps).await)
    }

    async fn assert_sound(&self) {
        let violations = self.database.violations().await;
        assert!(violations.is_empty(), "{}: {violations:#?}", self.race.order);
    }

    async fn finish(self) {
        eprintln!("{} orders", self.race.orders);
        for pool in self.pools.iter().chain([&self.direct]) {
            pool.close();
        }
        drop(self.race);
        self.database.finish().await;
    }
}

fn open(url: &str) -> Pool {
    pool::open(pool::settings(&url.parse().expect("a URL")), 1)
}

async fn decide(pool: &Pool, partition: i32, steps: &[Input]) -> Decided {
    let inputs: Vec<(&Input, ())> = steps.iter().map(|step| (step, ())).collect();
    let committed = decide_batch(pool, Some(partition), &inputs, None).await?;
    Ok(committed.reactions.into_iter().map(|(reaction, ())| reaction).collect())
}

/// PostgreSQL's code for why a batch was not decided.
fn sql_state(error: &BatchError) -> Option<&SqlState> {
    match error {
        BatchError::Store(error) => error.sql_state(),
        BatchError::Early(_) => None,
    }
}

/// The replies of a batch that must have been decided.
fn replies(outcome: &Decided) -> Vec<&Reply> {
    let reactions = outcome.as_ref().unwrap_or_else(|error| panic!("not decided: {error}"));
    reactions
        .iter()
        .filter_map(|reaction| match reaction {
            Reaction::Answer(reply) => Some(reply),
            _ => None,
        })
        .collect()
}

fn answers(outcome: &Decided) -> Vec<Answer> {
    let parse = |reply: &&Reply| serde_json::from_str(&reply.body).expect("an answer");
    replies(outcome).iter().map(parse).collect()
}

/// `accepted` and the like, or the code of a refusal, in the order of the sessions.
fn words(outcomes: &[Decided]) -> Vec<String> {
    outcomes.iter().flat_map(answers).map(|answer| answer.outcome().to_owned()).collect()
}

/// Asserts that one session was accepted and all others were refused with `refusal`.
fn assert_one_wins(outcomes: &[Decided], refusal: &str, order: &str) {
    let (won, lost): (Vec<Answer>, Vec<Answer>) =
        outcomes.iter().flat_map(answers).partition(|answer| code(answer).is_none());
    assert_eq!(won.len(), 1, "{order}: {won:?}");
    assert!(lost.iter().all(|answer| code(answer) == Some(refusal)), "{order}: {lost:?}");
    assert_eq!(lost.len(), outcomes.len() - 1, "{order}");
}

/// A command under a message id.
fn command(terminal: &TerminalId, message_id: &str, server: &ServerId, action: Action) -> Input {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(deterministic_id(message_id).as_bytes());
    let (terminal, server) = (terminal.clone(), server.clone());
    let message_id = message_id.to_owned();
    Input::Command(Command { terminal, message_id, digest, server, action, trace: None })
}

/// A request for the hour `hour` of [`day`].
fn request(terminal: &TerminalId, message_id: &str, server: &ServerId, hour: i64) -> Input {
    let start = day() + TimeDelta::hours(hour);
    let interval = Interval::new(start, start + TimeDelta::hours(1)).expect("an hour");
    command(terminal, message_id, server, Action::Request(interval))
}

/// The wake-up of an instant.
fn wake_up(due_at: DateTime<Utc>) -> Input {
    Input::WakeUp(WakeUp { due_at, scheduled_until: due_at, trigger: Trigger::Message })
}

/// The tenth of the month after next: within every horizon and far from the ends of its period.
fn day() -> DateTime<Utc> {
    let tenth = (Utc::now() + TimeDelta::days(60)).with_day(10).expect("every month has one");
    tenth.date_naive().and_hms_opt(0, 0, 0).expect("midnight").and_utc()
}

/// Names that are unique to an order.
fn names<const N: usize>(order: usize, names: [&str; N]) -> [String; N] {
    names.map(|name| format!("{name}-{order}"))
}
