//! Racing sessions in every order of their locks, reads, writes and commits.
//!
//! The sessions run the product's own transaction, `store::batch::run`, unchanged; gates in front
//! of PostgreSQL let its statements through in one order after the other (`support::schedule`).
//! In a healthy installation a partition has one owner. What races here is a former owner that
//! still commits what it has in hand, other partitions of the same user, and operators.

mod ids;
mod order;
mod places;
mod settlements;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use deadpool_postgres::Pool;
use holdfast::domain::id::{ServerId, TerminalId};
use holdfast::domain::interval::Interval;
use holdfast::domain::snapshot::{Action, Command, Step, Trigger, WakeUp};
use holdfast::message::answer::Answer;
use holdfast::message::deterministic_id;
use holdfast::store::error::StoreError;
use holdfast::store::{batch, pool};
use holdfast::worker::render::{Reaction, Reply, render};
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::schedule::{Job, Race};
use crate::support::terminal::code;

/// What became of a batch.
type Decided = Result<Vec<Reaction>, StoreError>;

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

    /// Decides one batch per session, in the present order. Nothing may be violated afterwards.
    async fn race(&mut self, batches: Vec<(i32, Vec<Step>)>) -> Vec<Decided> {
        let outcomes = self.race_unchecked(batches).await;
        self.assert_sound().await;
        outcomes
    }

    async fn race_unchecked(&mut self, batches: Vec<(i32, Vec<Step>)>) -> Vec<Decided> {
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
    async fn alone(&self, partition: i32, steps: &[Step]) -> Vec<Answer> {
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

async fn decide(pool: &Pool, partition: i32, steps: &[Step]) -> Decided {
    let committed = batch::run(pool, partition, steps, |decided| render(decided, steps)).await?;
    Ok(committed.rendered)
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
fn command(
    terminal: &TerminalId,
    message_id: &str,
    server: Option<&ServerId>,
    action: Action,
) -> Step {
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(deterministic_id(message_id).as_bytes());
    let (terminal, server) = (terminal.clone(), server.cloned());
    Step::Command(Command { terminal, message_id: message_id.to_owned(), digest, server, action })
}

/// A request for the hour `hour` of [`day`]. Like decoding, it draws another candidate each time.
fn request(terminal: &TerminalId, message_id: &str, server: &ServerId, hour: i64) -> Step {
    let start = day() + TimeDelta::hours(hour);
    let interval = Interval::new(start, start + TimeDelta::hours(1)).expect("an hour");
    let candidate = Uuid::now_v7();
    command(terminal, message_id, Some(server), Action::Request { candidate, interval })
}

/// The wake-up of an instant.
fn wake_up(due_at: DateTime<Utc>) -> Step {
    Step::WakeUp(WakeUp { due_at, scheduled_until: due_at, trigger: Trigger::Message })
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
