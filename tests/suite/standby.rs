//! A read-only server, such as a standby or a former primary: workers decide nothing on one, and answer
//! queries from one only if they are told to.

use holdfast::domain::input::Input;
use holdfast::domain::query::{Asked, Page, Query};
use holdfast::engine::query::Replied;
use holdfast::engine::{BatchError, answer_queries, decide_batch};
use holdfast::message::answer::Answer;
use holdfast::store::admin::{terminals, users};
use holdfast::store::error::StoreError;
use holdfast::store::pool;
use holdfast::store::pool::Pool;
use holdfast::store::view::ReadPool;

use crate::support::database::Database;
use crate::support::stack::Stack;
use crate::support::terminal::{code, window};

/// A batch that reads nothing but the clock.
async fn look_at_the_clock(pool: &Pool) -> Result<(), StoreError> {
    let nothing: &[(&Input, ())] = &[];
    match decide_batch(pool, Some(0), nothing, None).await {
        Ok(_) => Ok(()),
        Err(BatchError::Store(error)) => Err(error),
        Err(early @ BatchError::Early(_)) => panic!("{early}"),
    }
}

fn one_session(stack: &Stack) -> Pool {
    pool::open(pool::settings(&stack.worker_url.parse().expect("a URL")), 1)
}

#[tokio::test]
async fn a_session_with_one_is_thrown_away() {
    let stack = Stack::new().await;
    let pool = one_session(&stack);
    look_at_the_clock(&pool).await.expect("it takes writes");
    let session = pool.get().await.expect("that session");
    session.batch_execute("set default_transaction_read_only = on").await.expect("set");
    drop(session);
    let error = look_at_the_clock(&pool).await.expect_err("it takes no writes any more");
    assert!(error.is_read_only(), "{error}");
    look_at_the_clock(&pool).await.expect("a new session with one that does");
    stack.finish().await;
}

#[tokio::test]
async fn a_connection_to_one_is_refused() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal_account("ann").await;
    let (database, pool) = (format!("t_{}", stack.suffix()), one_session(&stack));
    let read = |standby| {
        let settings = pool::settings(&stack.worker_url.parse().expect("a URL"));
        ReadPool { pool: pool::open_to_read(settings, 1), standby }
    };
    let setting = "default_transaction_read_only";
    stack.execute(&format!("alter database {database} set {setting} = on"), &[]).await;
    assert!(pool.get().await.is_err(), "new sessions may not write");
    // To read from, it will do.
    let query = Query {
        terminal: terminal.account().parse().expect("an id"),
        message_id: "query".to_owned(),
        asked: Asked::Page(Page { after: None, limit: 1 }),
    };
    let standby = read(true);
    let answered = answer_queries(&standby, &[(&query, ())], None).await.expect("answered");
    let [Replied { reply, dead: None, .. }] = &answered.replies[..] else { panic!("no answer") };
    let answer: Answer = serde_json::from_str(&reply.body).expect("an answer");
    assert!(matches!(answer, Answer::Listed { .. }), "{answer:?}");
    // But not where the primary is meant, whose former server this may be.
    let primary = read(false);
    let error =
        answer_queries(&primary, &[(&query, ())], None).await.err().expect("it takes no writes");
    assert!(error.is_read_only(), "{error}");
    stack.execute(&format!("alter database {database} reset {setting}"), &[]).await;
    drop(pool.get().await.expect("they may again"));
    answer_queries(&primary, &[(&query, ())], None).await.expect("a new session");
    standby.pool.close();
    primary.pool.close();
    stack.finish().await;
}

/// A standby that lags is a database in which a reservation is missing. Commands never see it.
#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_from_the_database_that_is_set_and_commands_are_not() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let lagging = Database::new().await;
    let user = "ann".parse().expect("an id");
    let known = users::insert_user(&lagging.client, &user, None, None).await;
    assert!(known.expect("a user"));
    let id = terminal.id().parse().expect("an id");
    terminals::insert_terminal(&lagging.client, &id, &user).await.expect("a terminal");

    let mut worker = stack.worker_with(&[("DATABASE_READ_URL", lagging.url.as_str())]);
    let held = terminal.accepted(&server, window(7_200, 600)).await.id;
    assert_eq!(code(&terminal.show(held).await), Some("unknown_reservation"));
    let answer = terminal.reconfirm(&server, held).await;
    assert!(matches!(answer, Answer::Reconfirmed { .. }), "{answer:?}");
    assert!(worker.stop().await.success());

    let mut worker = stack.worker();
    let answer = terminal.show(held).await;
    assert!(matches!(answer, Answer::Shown { .. }), "{answer:?}");
    assert!(worker.stop().await.success());
    lagging.finish().await;
    stack.finish().await;
}
