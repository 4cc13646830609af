//! "Set up" is followed word by word, apart from hosts, passwords, and names that all tests share.
//! The management API does what `rabbitmqctl` would.

use std::time::Duration;

use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use rabbitmq_http_client::requests::UserParams;
use url::Url;
use uuid::Uuid;

use super::{between, readme};
use crate::support::engines;
use crate::support::program::{bare, ended};

/// The indented lines that begin with one of `words`, continued lines joined.
fn typed(text: &str, words: &[&str]) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let wanted = lines.filter(|line| words.iter().any(|word| line.starts_with(word)));
    wanted.map(str::to_owned).collect()
}

/// `url` with the place of one of the tests' engines.
fn at(url: &Url, scheme: &str, account: &str, path: &str) -> String {
    let place = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
    format!("{scheme}://{account}:{}@{place}{path}", engines::PASSWORD)
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_can_be_followed_word_by_word() {
    let id = Uuid::new_v4().simple().to_string();
    let (role, admin, database) =
        (format!("owner_{id}"), format!("admin-{id}"), format!("reservations_{id}"));
    let (worker, terminal) = (format!("worker_{id}"), format!("alice-{id}"));
    let text = readme();
    let chapter = between(&text, "### Set up", "A billing system gets an account");

    let superuser = engines::connect(engines::DATABASE_URL.as_str()).await;
    let sql = typed(chapter, &["create "]);
    assert_eq!(sql.len(), 2, "{sql:?}");
    for statement in sql {
        let statement = statement
            .replace("database reservations", &format!("database {database}"))
            .replace("role holdfast", &format!("role {role}"))
            .replace("owner holdfast", &format!("owner {role}"))
            .replace("<password>", engines::PASSWORD);
        superuser.batch_execute(&statement).await.expect("a statement of the README");
    }
    assert_eq!(typed(chapter, &["rabbitmqctl "]).len(), 4);
    engines::create_vhost(&database).await;
    engines::create_account(&admin, &database).await;
    let hash = base64_encoded_salted_password_hash_sha256(&[1, 2, 3, 4], engines::PASSWORD);
    let tagged = UserParams::new(&admin, &hash, "administrator");
    engines::management().create_user(&tagged).await.expect("the tag");

    let program = std::path::Path::new(env!("CARGO_BIN_EXE_holdfast"));
    let folder = program.parent().expect("a folder").to_str().expect("text");
    let (pg, mq, api) = (&engines::DATABASE_URL, &engines::AMQP_URL, &engines::MANAGEMENT_URL);
    let words = ["export ", "holdfast ", "DATABASE_URL=", "AMQP_URL="];
    let script = typed(chapter, &words)
        .join("\n")
        .replace(
            "postgres://holdfast:<password>@db.example:5432/reservations",
            &at(pg, "postgres", &role, &format!("/{database}")),
        )
        .replace(
            "amqp://admin:<password>@mq.example:5672/reservations",
            &at(mq, "amqp", &admin, &format!("/{database}")),
        )
        .replace("http://admin:<password>@mq.example:15672", &at(api, "http", &admin, ""))
        .replace("holdfast_worker", &worker)
        .replace("alice-1", &terminal)
        .replace("--end +3d", "--end +3d --timeout 120 | tee answer")
        .replace(
            "01a207ac-4fe7-70d8-ad75-75af93e63c96",
            "$(awk '$1 == \"reservation\" { print $2 }' answer) --timeout 120",
        );
    assert!(!script.contains(".example:") && !script.contains('<'), "{script}");
    let script = format!("set -euo pipefail\ntrap 'kill $(jobs -p)' EXIT\n{script}\n");
    let home = tempfile::tempdir().expect("a folder");
    let path = format!("{folder}:/usr/bin:/bin");
    let mut shell = bare("bash", &[("PATH", &path)]);
    shell.args(["-c", &script]).current_dir(home.path());
    let run = ended(shell.spawn().expect("bash"));
    let run = tokio::time::timeout(Duration::from_secs(300), run).await.expect("it ends");
    assert_eq!(run.code, 0, "{script}\n{run:?}");
    assert!(run.stdout.contains("reconfirmed"), "{run:?}");

    engines::drop_vhost(&database).await;
    for account in [&admin, &worker, &terminal] {
        engines::drop_account(account).await;
    }
    engines::drop_database(&database).await;
    for role in [&worker, &role] {
        superuser.batch_execute(&format!("drop role {role}")).await.expect("drop role");
    }
}
