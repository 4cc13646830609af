//! The runbook for a lost broker and a database that was restored from a backup, followed word by word.

mod load;
mod runbook;
mod truth;

use std::collections::BTreeSet;

use holdfast::broker::topology::BILLING_QUEUE;
use serde_json::Value;

use self::load::Load;
use self::runbook::Runbook;
use self::truth::{Truth, lost};
use crate::support::database::{Database, Row};
use crate::support::program::{bare, ended};
use crate::support::stack::Stack;
use crate::support::{engines, facts, invariants};

/// Differences as `holdfast reconcile` names them, each with its reservation.
type Named = BTreeSet<(String, String)>;

/// What `holdfast reconcile --json` has found.
fn named(report: &str) -> Named {
    let report: Value = serde_json::from_str(report).unwrap_or_else(|e| panic!("{e}: {report}"));
    let differences = report["differences"].as_array().expect("differences").iter();
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    differences.map(|found| (word(&found["what"]), word(&found["reservation"]))).collect()
}

/// Every account of the installation goes with its vhost, and then the vhost, while the database lives on.
async fn wipe_broker(stack: &Stack, load: &Load) {
    engines::drop_vhost(&stack.vhost).await;
    for account in load.accounts(stack) {
        engines::drop_account(&account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_wiped_broker_and_an_old_backup_the_list_of_what_is_lost_is_complete() {
    let mut stack = Stack::with_partitions(2).await;
    let mut load = Load::new(&mut stack).await;
    let runbook = Runbook::new(&stack);
    let mut worker = stack.worker();

    load.before_the_backup(&stack).await;
    runbook.follow("Back up").await;
    load.after_the_backup(&stack).await;
    load.until_quiet(&stack).await;
    load.age_the_backup().await;
    assert!(worker.stop().await.success());
    load.read_bills(&stack, BILLING_QUEUE).await;
    let before = Truth::read(&stack.db).await;

    runbook.follow("1. Stop the workers").await;
    wipe_broker(&stack, &load).await;
    runbook.follow("2. Restore the database").await;
    runbook.import_only_ours(&load.accounts(&stack));
    runbook.follow("3. Rebuild the broker").await;
    load.send_again().await;
    let mut worker = stack.worker();
    runbook.follow("5. Start the workers").await;

    // Ended by `dropdb`, as all connections to the old database.
    let db = engines::connect(&stack.database_url).await;
    facts::until("no invariant is violated, and nothing is outstanding", async || {
        invariants::violations(&db).await.is_empty() && load::is_quiet(&db).await
    })
    .await;
    load.until_heard(&db).await;
    load.read_bills_anew(&stack, BILLING_QUEUE).await;
    load.write_files(runbook.folder());

    let after = Truth::read(&db).await;
    let expected = lost(&before, &after, &load.bills());
    let found = named(&runbook.reconcile().await);
    assert_eq!(found, expected, "{load}");
    let kinds: BTreeSet<&str> = found.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        kinds,
        truth::KINDS.into_iter().collect(),
        "every kind of loss was tried: {found:?}"
    );

    assert!(worker.stop().await.success());
    assert_eq!(invariants::violations(&db).await, [""; 0]);
    drop(db);
    wipe_broker(&stack, &load).await;
    engines::drop_database(&format!("t_{}", stack.suffix())).await;
}

/// The runbook says so: nobody shall find out at night.
#[tokio::test]
async fn a_dump_does_not_go_into_a_migrated_database() {
    let (old, new) = (Database::new().await, Database::new().await);
    old.server("cam", 1, 0).await;
    old.user("ann", None).await;
    old.accepts(&Row::held(0.0, 1.0).insert()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump").display().to_string();
    let path = [("PATH", "/usr/bin:/bin")];
    let mut dump = bare("pg_dump", &path);
    dump.args(["--format=custom", "--file", &file, &old.url]);
    let dumped = ended(dump.spawn().expect("pg_dump")).await;
    assert_eq!(dumped.code, 0, "{dumped:?}");
    let mut restore = bare("pg_restore", &path);
    restore.args(["--data-only", "--single-transaction", "--dbname", &new.url, &file]);
    let restored = ended(restore.spawn().expect("pg_restore")).await;
    assert_eq!(restored.code, 1, "{restored:?}");
    assert_eq!(new.ask::<i64>("select count(*) from reservations").await, 0);
    old.finish().await;
    new.finish().await;
}
