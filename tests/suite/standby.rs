//! A read-only server, such as a standby or a former primary: workers do not use it, not even to answer a
//! query.

use deadpool_postgres::Pool;
use holdfast::domain::input::Input;
use holdfast::engine::decide_batch;
use holdfast::store::error::StoreError;
use holdfast::store::pool;

use crate::support::stack::Stack;

/// A batch that reads nothing but the clock.
async fn look_at_the_clock(pool: &Pool) -> Result<(), StoreError> {
    let nothing: &[(&Input, ())] = &[];
    decide_batch(pool, Some(0), nothing).await.map(drop)
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
    let stack = Stack::new().await;
    let (database, pool) = (format!("t_{}", stack.suffix()), one_session(&stack));
    let setting = "default_transaction_read_only";
    stack.execute(&format!("alter database {database} set {setting} = on"), &[]).await;
    assert!(pool.get().await.is_err(), "new sessions may not write");
    stack.execute(&format!("alter database {database} reset {setting}"), &[]).await;
    drop(pool.get().await.expect("they may again"));
    stack.finish().await;
}
