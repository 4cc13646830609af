//! Conditions of the database. Settings of the whole server are changed for a moment only, and in a way that
//! makes others slower at most.

use super::{examined, found_and_healed, looked, looked_with, until};
use crate::support::engines;
use crate::support::stack::Stack;

fn of_database(stack: &Stack, change: &str) -> String {
    format!("alter database t_{} {change}", stack.suffix())
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_not_awaited() {
    let stack = Stack::new().await;
    until(&stack, "database.synchronous_commit", "green", &["on"]).await;
    stack.execute(&of_database(&stack, "set synchronous_commit = off"), &[]).await;
    let texts = ["off", "alter database ... reset synchronous_commit"];
    found_and_healed(&stack, "database.synchronous_commit", "red", &texts, async || {
        stack.execute(&of_database(&stack, "reset synchronous_commit"), &[]).await;
    })
    .await;
    // Of the workers' account alone.
    let role: String =
        stack.ask("select name from database_roles where kind = 'worker' limit 1", &[]).await;
    let database = format!("t_{}", stack.suffix());
    let change = format!("alter role {role} in database {database}");
    stack.execute(&format!("{change} set synchronous_commit = off"), &[]).await;
    let named = format!("off for {role}");
    found_and_healed(&stack, "database.synchronous_commit", "red", &[&named], async || {
        stack.execute(&format!("{change} reset synchronous_commit"), &[]).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_isolation_by_default() {
    let stack = Stack::new().await;
    let set = "set default_transaction_isolation = 'repeatable read'";
    stack.execute(&of_database(&stack, set), &[]).await;
    let texts = ["repeatable read", "alter database ... reset default_transaction_isolation"];
    found_and_healed(&stack, "database.isolation", "yellow", &texts, async || {
        stack.execute(&of_database(&stack, "reset default_transaction_isolation"), &[]).await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes() {
    let stack = Stack::new().await;
    stack.execute(&of_database(&stack, "set default_transaction_read_only = on"), &[]).await;
    found_and_healed(&stack, "database.writable", "red", &["read-only", "primary"], async || {
        let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
        let reset = of_database(&stack, "reset default_transaction_read_only");
        admin.execute(&reset, &[]).await.expect("reset");
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_drops_the_settings() {
    let stack = Stack::new().await;
    let url = crate::pooler::through_pooler(&stack.database_url).await;
    let report = looked_with(&stack, &[("DATABASE_URL", &url)]).await;
    let texts = ["pooler", "connect to PostgreSQL directly"];
    assert!(report.is("database.session", "red", &texts), "{}", report.told("database.session"));
    assert_eq!(looked(&stack).await.level("database.session"), "green");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_clock_that_jumped() {
    let stack = Stack::new().await;
    until(&stack, "clock.retention", "green", &[]).await;
    let jumped = "update timekeeping set believed_at = believed_at - interval '500 days'";
    stack.execute(jumped, &[]).await;
    let texts = ["ahead of what is believed", "holdfast policy believe-clock"];
    found_and_healed(&stack, "clock.retention", "yellow", &texts, async || {
        stack.operate(&[], "policy believe-clock", 0).await;
    })
    .await;
    stack.finish().await;
}

/// The tests' own PostgreSQL has it off, since the operating system does not crash in a test. Where somebody
/// brings another server it is on, and nothing is planted in it.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_do_not_reach_the_disk() {
    let stack = Stack::new().await;
    let admin = engines::connect(engines::DATABASE_URL.as_str()).await;
    let set = async |how: &str| {
        admin.batch_execute(&format!("alter system {how}")).await.expect("set");
        admin.batch_execute("select pg_reload_conf()").await.expect("reloaded");
    };
    if stack.ask::<String>("show fsync", &[]).await == "on" {
        eprintln!("skipped: this server is not of `./dev`, and fsync is on");
        return stack.finish().await;
    }
    let texts = ["off: fsync", "alter system reset fsync"];
    found_and_healed(&stack, "database.fsync", "red", &texts, async || set("set fsync = on").await)
        .await;
    all_green(&stack).await;
    set("reset fsync").await;
    stack.finish().await;
}

/// With everything in order nothing is red or yellow, and the exit code is 0.
async fn all_green(stack: &Stack) {
    let account = format!("green_{}", stack.suffix());
    let added = stack.operate(&[], &format!("account add broker-worker {account}"), 0).await;
    let mut worker = stack.worker_with(&[("AMQP_URL", added.stdout.trim())]);
    crate::support::facts::until("it consumes", async || {
        worker.log().contains("answering queries")
    })
    .await;
    let environment = stack.operator_environment();
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    crate::support::facts::until("everything is green", async || {
        let report = examined(&environment, &[]).await;
        for level in ["red", "yellow", "skipped"] {
            for check in report.of(level) {
                println!("{level}: {check}: {}", report.told(check));
            }
        }
        [report.of("red"), report.of("yellow"), report.of("skipped")].concat().is_empty()
    })
    .await;
    assert!(worker.stop().await.success());
    engines::drop_account(&account).await;
}
