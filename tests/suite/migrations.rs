//! Migrations: what they make, and how they behave while others use the tables.

use std::fs;

use holdfast::store::migrations;
use holdfast::store::url::DatabaseUrl;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::database::Database;
use crate::support::program::holdfast;
use crate::support::stack::Stack;
use crate::support::{engines, facts};

/// The schema that all migrations together make.
const CURRENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/current.sql");

const CURRENT_HEADER: &str = "\
-- The schema that all files of schema/migrations together make, read from a migrated database. It is for
-- reading and reviewing; `holdfast migrate` does not use it. A test compares it, and writes it when run so:
--
--     HOLDFAST_BLESS=1 ./dev test -- the_current_schema_is_checked_in";

/// The schema of a database, as SQL.
async fn described(db: &Client) -> String {
    let blocks = db.query(include_str!("migrations/describe.sql"), &[]).await.expect("the schema");
    let blocks = blocks.iter().map(|row| row.get(0));
    std::iter::once(CURRENT_HEADER).chain(blocks).collect::<Vec<&str>>().join("\n") + "\n"
}

#[tokio::test]
async fn the_current_schema_is_checked_in() {
    let database = Database::new().await;
    let migrated = described(&database.client).await;
    database.finish().await;
    if std::env::var_os("HOLDFAST_BLESS").is_some_and(|value| value == "1") {
        fs::write(CURRENT, &migrated).expect("written");
    }
    let current = fs::read_to_string(CURRENT).expect("schema/current.sql is checked in");
    assert!(
        current == migrated,
        "schema/current.sql is not what the migrations make. Run this test once with \
         HOLDFAST_BLESS=1, look at the difference, and commit it."
    );
}

/// The description misses nothing that it would take to make the schema again.
#[tokio::test]
async fn the_current_schema_makes_itself() {
    let name = format!("t_{}", Uuid::new_v4().simple());
    let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
    admin.batch_execute(&format!("create database {name}")).await.expect("create database");
    let client = engines::connect(&engines::database_url(&name)).await;
    let current = fs::read_to_string(CURRENT).expect("schema/current.sql is checked in");
    client.batch_execute(&current).await.expect("it runs in an empty database");
    assert_eq!(described(&client).await, current);
    drop(client);
    engines::drop_database(&name).await;
}

/// The table of applied migrations, as the first migration finds it.
const RECORD: &str = "create table schema_migrations
    (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255))";

/// The start of the transaction that waits for a lock, if one does.
async fn waits_since(db: &Client) -> Option<String> {
    let query = "select xact_start::text from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    db.query_opt(query, &[]).await.expect("sessions").map(|row| row.get(0))
}

/// A migration that waits for a table lock holds up every worker that comes after it. So it waits for
/// less time than a worker does, rolls back and retries.
#[tokio::test]
async fn a_migration_that_finds_a_table_locked_rolls_back_and_retries() {
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
    facts::until("a migration waits", async || waits_since(&watcher).await.is_some()).await;
    let first = waits_since(&watcher).await;
    let again = async || waits_since(&watcher).await.is_some_and(|since| Some(since) != first);
    facts::until("another try waits", again).await;
    assert!(!migrating.is_finished());
    holder.batch_execute("commit").await.expect("unlocked");
    let applied = migrating.await.expect("no panic").expect("migrated");
    let recorded = "select count(*) from schema_migrations";
    let recorded: i64 = watcher.query_one(recorded, &[]).await.expect("migrations").get(0);
    assert_eq!(
        recorded,
        i64::try_from(applied.len()).expect("a few"),
        "each migration once: {applied:?}"
    );
    assert!(migrations::pending(&url).await.expect("migrations").is_empty());
    drop((holder, watcher));
    engines::drop_database(&name).await;
}

/// A new libc sorts otherwise, and then an index that follows its collation admits a key twice.
#[tokio::test]
async fn no_index_follows_a_collation_that_can_change() {
    let database = Database::new().await;
    let others =
        "select coalesce(string_agg(i.indexrelid::regclass || ': ' || c.collname, ', '), '')
        from pg_index i cross join lateral unnest(i.indcollation) used (id)
        join pg_collation c on c.oid = used.id
        where i.indrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace)
          and c.collname <> 'C'";
    assert_eq!(database.ask::<String>(others).await, "");
    database.finish().await;
}

/// An index that is not ours, in a database whose collation was another version when it was built.
const COLLATION_CHANGES: &str = "create table other (name text primary key);
    update pg_database set datcollversion = 'before' where datname = current_database()";

/// What is said of it.
const CHANGED: &str = "index other_pkey of other";

/// An index of somebody else, or of a schema that was made otherwise, is named once its collation changes.
#[tokio::test]
async fn a_changed_collation_is_noticed() {
    let database = Database::new().await;
    let environment = [("DATABASE_URL", database.url.as_str())];
    assert_eq!(holdfast(&environment, &["migrate", "--check"]).await.code, 0);
    database.client.batch_execute(COLLATION_CHANGES).await.expect("a table");
    let check = holdfast(&environment, &["migrate", "--check"]).await;
    assert_eq!(check.code, 3, "{check:?}");
    assert!(check.stderr.contains(CHANGED), "{check:?}");
    let migrated = holdfast(&environment, &["migrate"]).await;
    assert_eq!(migrated.code, 0, "{migrated:?}");
    assert!(migrated.stderr.contains(CHANGED), "{migrated:?}");
    database.finish().await;
}

/// Nobody looks for changes after an upgrade of the machine, so workers say so when they start.
#[tokio::test(flavor = "multi_thread")]
async fn a_starting_worker_says_what_has_changed_outside() {
    let stack = Stack::new().await;
    stack.db.batch_execute(COLLATION_CHANGES).await.expect("a table");
    // A month that begins an hour later than by this session's zone rules.
    let zone = "update quota_bounds set starts_at = starts_at + interval '1 h'
        where local_start = (select min(local_start) from quota_bounds where starts_at > now() + interval '40 days')";
    assert_eq!(stack.execute(zone, &[]).await, 1);
    let mut worker = stack.worker();
    worker.logged(CHANGED).await;
    worker.logged("its rules have changed").await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}
