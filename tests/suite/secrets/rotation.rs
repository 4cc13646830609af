//! Passwords that change while a worker runs.

use std::path::Path;
use std::time::Duration;

use holdfast::broker::connection::Endpoint;
use rabbitmq_http_client::password_hashing::base64_encoded_salted_password_hash_sha256;
use rabbitmq_http_client::requests::UserParams;
use tempfile::TempDir;
use url::Url;

use crate::support::program::holdfast;
use crate::support::stack::Stack;
use crate::support::terminal::window;
use crate::support::{engines, facts};

/// A database account of its own, since the others' is every test's.
struct Role {
    name: String,
}

impl Role {
    async fn new(stack: &Stack) -> Self {
        let role = Self { name: format!("rotated_{}", stack.suffix()) };
        let Role { name } = &role;
        let worker: Url = stack.worker_url.parse().expect("a URL");
        stack.db.batch_execute(&format!("create role {name} login password 'old'")).await.unwrap();
        let grant = format!("grant {} to {name}", worker.username());
        stack.db.batch_execute(&grant).await.expect("the workers' rights");
        role
    }

    fn url(&self, stack: &Stack, password: &str) -> String {
        let mut url: Url = stack.worker_url.parse().expect("a URL");
        url.set_username(&self.name).expect("postgres URLs have one");
        url.set_password(Some(password)).expect("postgres URLs have one");
        url.to_string()
    }

    async fn change(&self, stack: &Stack, password: &str) {
        let change = format!("alter role {} password '{password}'", self.name);
        stack.db.batch_execute(&change).await.expect("changed");
        stack
            .db
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1",
                &[&self.name],
            )
            .await
            .expect("its connections are closed");
    }

    async fn drop(self, stack: &Stack) {
        stack.db.batch_execute(&format!("drop role {}", self.name)).await.expect("dropped");
    }
}

async fn change_broker(stack: &Stack, password: &str) {
    let hash = base64_encoded_salted_password_hash_sha256(&[1, 2, 3, 4], password);
    let account = stack.broker.account();
    let params = UserParams::new(account, &hash, "");
    engines::management().create_user(&params).await.expect("the password changes");
    // The management's list of connections is some seconds old.
    facts::until("its connections are closed", async || {
        let open = engines::connections_of(account).await > 0;
        if open {
            engines::close_connections_of(account).await;
        }
        open
    })
    .await;
}

fn write(directory: &TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    replace(&path, content);
    path.to_str().expect("a path").to_owned()
}

/// At once, as platforms do it.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{content}\n")).expect("written");
    std::fs::rename(new, path).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_in_files_change_under_a_running_worker() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let role = Role::new(&stack).await;
    let files = tempfile::tempdir().expect("a directory");
    let broker = |password: &str| stack.broker.url_for(stack.broker.account(), password);
    let database_file = write(&files, "database", &role.url(&stack, "old"));
    let broker_file = write(&files, "broker", &broker(engines::PASSWORD));
    let environment = [
        ("DATABASE_URL", ""),
        ("AMQP_URL", ""),
        ("DATABASE_URL_FILE", database_file.as_str()),
        ("AMQP_URL_FILE", &broker_file),
    ];
    let mut worker = stack.worker_with(&environment);
    terminal.accepted(&server, window(86_400, 60)).await;
    // The engines learn of the new passwords first, so the old ones are refused for a while.
    role.change(&stack, "new").await;
    change_broker(&stack, "other").await;
    worker.logged("28P01").await;
    replace(Path::new(&database_file), &role.url(&stack, "new"));
    replace(Path::new(&broker_file), &broker("other"));
    terminal.accepted(&server, window(172_800, 60)).await;
    assert!(worker.runs());
    assert!(worker.stop().await.success());
    // The test's own connection was of the account, too.
    let endpoint: Endpoint = broker("other").parse().expect("a URL");
    stack.amqp = endpoint.connect("test").await.expect("the broker");
    role.drop(&stack).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_password_that_nothing_can_replace_ends_the_worker() {
    let stack = Stack::new().await;
    let role = Role::new(&stack).await;
    let url = role.url(&stack, "old");
    let mut worker = stack.worker_with(&[("DATABASE_URL", &url)]);
    facts::until("the worker has joined", async || {
        stack.ask("select exists (select from workers)", &[]).await
    })
    .await;
    role.change(&stack, "new").await;
    assert_eq!(worker.ended().await.code(), Some(78), "{}", worker.log());
    assert!(worker.log().contains("refused the account or password of DATABASE_URL"));
    role.drop(&stack).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_broker_password_ends_the_worker_and_commands() {
    let stack = Stack::new().await;
    let url = stack.broker.url_for(stack.broker.account(), "wrong");
    let mut worker = stack.worker_with(&[("AMQP_URL", &url)]);
    assert_eq!(worker.ended().await.code(), Some(78), "{}", worker.log());
    let database = stack.database_url.replacen("://", "://nobody:wrong@", 1);
    let database =
        database.rsplit_once('@').map(|(_, rest)| format!("postgres://nobody:wrong@{rest}"));
    let database = database.expect("an account");
    let management = engines::MANAGEMENT_URL.as_str().replacen("://", "://x", 1);
    let amqp = stack.broker.url_for(stack.broker.account(), engines::PASSWORD);
    for (environment, command) in [
        (
            vec![("DATABASE_URL", stack.database_url.as_str()), ("AMQP_URL", &url)],
            &["topology", "verify"][..],
        ),
        (vec![("DATABASE_URL", &database)], &["migrate", "--check"]),
        (
            vec![("AMQP_URL", &amqp), ("RABBITMQ_MANAGEMENT_URL", &management)],
            &["account", "add", "broker-billing", "never"],
        ),
    ] {
        let begun = std::time::Instant::now();
        let run = holdfast(&environment, command).await;
        assert_eq!(run.code, 78, "{run:?}");
        assert!(begun.elapsed() < Duration::from_secs(15), "at once");
    }
    stack.finish().await;
}
