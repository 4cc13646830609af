//! Schema steps while others use the tables.

use holdfast::store::migrations;
use holdfast::store::url::DatabaseUrl;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{engines, facts};

/// As the steps' own record is made before the first step.
const RECORD: &str = "create table schema_migrations
    (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))";

/// When the transaction of a session began that waits for the record of steps, if one does.
async fn waits_since(db: &Client) -> Option<String> {
    let query = "select xact_start::text from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    db.query_opt(query, &[]).await.expect("sessions").map(|row| row.get(0))
}

/// A table that somebody holds is not waited for longer than the workers bear: the step lets go, so
/// that they come through, and tries again.
#[tokio::test]
async fn a_step_that_finds_a_table_locked_gives_way_and_comes_again() {
    let name = format!("t_{}", Uuid::new_v4().simple());
    let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
    admin.batch_execute(&format!("create database {name}")).await.expect("create database");
    let url = engines::database_url(&name);
    let (holder, watcher) = (engines::connect(&url).await, engines::connect(&url).await);
    holder.batch_execute(RECORD).await.expect("a table");
    // It can be read, but not written to.
    holder
        .batch_execute("begin; lock table schema_migrations in exclusive mode")
        .await
        .expect("locked");
    let url: DatabaseUrl = url.parse().expect("a URL");
    let same = url.clone();
    let migrating = tokio::spawn(async move { migrations::migrate(&same).await });
    facts::until("a step waits", async || waits_since(&watcher).await.is_some()).await;
    let first = waits_since(&watcher).await;
    let again = async || waits_since(&watcher).await.is_some_and(|since| Some(since) != first);
    facts::until("another try waits", again).await;
    assert!(!migrating.is_finished());
    holder.batch_execute("commit").await.expect("unlocked");
    let applied = migrating.await.expect("no panic").expect("it comes through");
    let steps = "select count(*) from schema_migrations";
    let recorded: i64 = watcher.query_one(steps, &[]).await.expect("steps").get(0);
    assert_eq!(
        recorded,
        i64::try_from(applied.len()).expect("a few"),
        "each step once: {applied:?}"
    );
    assert!(migrations::pending(&url).await.expect("steps").is_empty());
    drop((holder, watcher));
    engines::drop_database(&name).await;
}
