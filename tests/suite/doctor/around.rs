//! With an engine away, without the management API, and with accounts that may only look.

use std::time::Instant;

use super::{examined, looked_with, until};
use crate::support::engines;
use crate::support::facts;
use crate::support::program::holdfast;
use crate::support::stack::Stack;
use rabbitmq_http_client::requests::{Permissions, UserParams};
use url::Url;

/// Nothing listens on port 1.
const AWAY: [(&str, &str); 3] = [
    ("DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/x"),
    ("AMQP_URL", "amqp://me:s3cret@127.0.0.1:1/x"),
    ("RABBITMQ_MANAGEMENT_URL", "http://me:s3cret@127.0.0.1:1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_is_red_and_the_rest_is_looked_at() {
    let stack = Stack::new().await;
    // A broker that has just started does not tell it yet.
    until(&stack, "broker.alarms", "green", &[]).await;
    for (away, check, others) in [
        (AWAY[0], "database.reached", ["broker.reached", "broker.alarms"]),
        (AWAY[1], "broker.reached", ["database.reached", "schema.version"]),
        (AWAY[2], "management.reached", ["broker.reached", "topology.objects"]),
    ] {
        let report = looked_with(&stack, &[away]).await;
        assert!(report.is(check, "red", &["127.0.0.1:1"]), "{}", report.told(check));
        for other in others {
            assert_eq!(report.level(other), "green", "{other}: {}", report.told(other));
        }
    }
    let began = Instant::now();
    let report = examined(&AWAY, &[]).await;
    assert!(began.elapsed().as_secs() < 60, "everything is bounded");
    assert_eq!(report.of("red").len(), 3, "{:?}", report.of("red"));
    let documented = include_str!("../../../docs/diagnosis.md");
    for level in ["red", "yellow", "skipped", "green"] {
        for check in report.of(level) {
            assert!(documented.contains(&format!("`{check}`")), "{check} is not documented");
        }
    }
    let run = holdfast(&AWAY, &["doctor"]).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(!format!("{run:?}").contains("s3cret"), "{run:?}");
    for said in ["RED", "looked at:", "to do:", "3 red"] {
        assert!(run.stdout.contains(said), "{said}: {run:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_management_api_the_rest_is_looked_at() {
    let stack = Stack::new().await;
    let report = looked_with(&stack, &[("RABBITMQ_MANAGEMENT_URL", "")]).await;
    assert_eq!(report.level("management.reached"), "skipped");
    for check in ["topology.policies", "topology.bindings", "broker.alarms", "accounts.workers"] {
        assert!(report.is(check, "skipped", &["the management API"]), "{check}");
    }
    for check in ["topology.owner", "topology.objects", "topology.replies"] {
        assert_eq!(report.level(check), "green", "{check}: {}", report.told(check));
    }
    stack.finish().await;
}

/// A database role that only reads, and a broker account with the tag `monitoring` that may declare, write and
/// read nothing.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_may_only_look_are_enough_but_for_probes() {
    let mut stack = Stack::new().await;
    stack.terminal_account("ann").await;
    stack.server("cam", &[]).await;
    let mut worker = stack.worker();
    worker.logged("answering queries").await;
    let role = format!("monitor_{}", stack.suffix());
    let made = format!(
        "create role {role} login password 'test';
         grant usage on schema public to {role};
         grant select on all tables in schema public to {role}"
    );
    stack.db.batch_execute(&made).await.expect("a role");
    let account = format!("monitor_{}", stack.suffix());
    let management = engines::management();
    let hash = rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256(
        &[1, 2, 3, 4],
        engines::PASSWORD,
    );
    management.create_user(&UserParams::new(&account, &hash, "monitoring")).await.expect("made");
    let (user, vhost) = (account.as_str(), stack.vhost.as_str());
    let none = Permissions { user, vhost, configure: "^$", write: "^$", read: "^$" };
    management.declare_permissions(&none).await.expect("granted");
    let mut database: Url = stack.database_url.parse().expect("a URL");
    database.set_username(&role).expect("postgres URLs have one");
    database.set_password(Some("test")).expect("postgres URLs have one");
    let mut api: Url = engines::MANAGEMENT_URL.clone();
    api.set_username(&account).expect("http URLs have one");
    api.set_password(Some(engines::PASSWORD)).expect("http URLs have one");
    let (database, api) = (database.to_string(), api.to_string());
    let amqp = engines::amqp_url(&account, engines::PASSWORD, &stack.vhost);
    let environment = [
        ("DATABASE_URL", database.as_str()),
        ("AMQP_URL", amqp.as_str()),
        ("RABBITMQ_MANAGEMENT_URL", api.as_str()),
    ];
    facts::until("nothing is red but what is", async || {
        let report = examined(&environment, &["--no-probe"]).await;
        for check in [report.of("red"), report.of("yellow"), report.of("skipped")].concat() {
            println!("{check}: {}", report.told(check));
        }
        let administrators = ["accounts.terminals", "accounts.workers", "broker.feature_flags"];
        let mut skipped = report.of("skipped");
        skipped.sort_unstable();
        // The tests' own PostgreSQL has fsync off.
        report.of("red").iter().all(|check| *check == "database.fsync") && skipped == administrators
    })
    .await;
    let report = examined(&environment, &[]).await;
    for check in ["probe.ladder", "probe.partitions"] {
        let texts = ["may not look", "an administrator's URLs"];
        assert!(report.is(check, "skipped", &texts), "{check}: {}", report.told(check));
    }
    let run = holdfast(&environment, &["status"]).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(worker.stop().await.success());
    engines::drop_account(&account).await;
    stack
        .db
        .batch_execute(&format!("drop owned by {role}; drop role {role}"))
        .await
        .expect("dropped");
    stack.finish().await;
}
