//! The schema, and what comes from outside the database.

use uuid::Uuid;

use super::{examined, found_and_healed, until};
use crate::support::engines;
use crate::support::program::holdfast;
use crate::support::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_never_migrated() {
    let stack = Stack::new().await;
    let name = format!("bare_{}", Uuid::new_v4().simple());
    let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
    admin.batch_execute(&format!("create database {name}")).await.expect("create database");
    let url = engines::database_url(&name);
    let [_, amqp, management] = stack.operator_environment();
    let environment =
        [("DATABASE_URL", url.as_str()), (&*amqp.0, &*amqp.1), (&*management.0, &*management.1)];
    let report = examined(&environment, &["--no-probe"]).await;
    assert!(report.is("schema.version", "red", &["missing: ", "holdfast migrate"]));
    assert_eq!(report.level("schema.topology"), "skipped");
    assert_eq!(holdfast(&environment, &["migrate"]).await.code, 0);
    let report = examined(&environment, &["--no-probe"]).await;
    assert_eq!(report.level("schema.version"), "green");
    assert!(report.is("schema.topology", "red", &["none", "holdfast topology apply"]));
    engines::drop_database(&name).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collation_that_has_changed() {
    let stack = Stack::new().await;
    until(&stack, "schema.collations", "green", &[]).await;
    let changed = "create table other (name text primary key);
        update pg_database set datcollversion = 'before' where datname = current_database()";
    stack.db.batch_execute(changed).await.expect("a table");
    let texts = ["index other_pkey of other", "reindex"];
    found_and_healed(&stack, "schema.collations", "red", &texts, async || {
        let refresh = "reindex index other_pkey;
            update pg_database d set datcollversion = pg_database_collation_actual_version(d.oid)
            where datname = current_database()";
        stack.db.batch_execute(refresh).await.expect("refreshed");
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_rules_that_have_changed() {
    let stack = Stack::new().await;
    stack.operate(&[], "user recount", 0).await;
    until(&stack, "schema.zone_rules", "green", &[]).await;
    let moved = "update quota_bounds set starts_at = starts_at + interval '1 hour'
        where starts_at = (select max(starts_at) from quota_bounds)";
    assert_eq!(stack.execute(moved, &[]).await, 1);
    let texts = ["its rules have changed", "holdfast user recount"];
    found_and_healed(&stack, "schema.zone_rules", "yellow", &texts, async || {
        stack.operate(&[], "user recount", 0).await;
    })
    .await;
    stack.finish().await;
}
