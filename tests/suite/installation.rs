//! Two installations on one broker: a vhost belongs to one of them.

use holdfast::broker::installation::{self, Owner};
use holdfast::broker::topology::{DEAD, partition_queue};
use holdfast::client::Command;
use holdfast::domain::id::{TerminalId, UserId};
use holdfast::message::answer::Answer;
use holdfast::store::admin::users;
use holdfast::store::registry;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::program::{Run, holdfast};
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id, window};
use crate::support::worker::Worker;
use crate::support::{engines, facts};

/// Another database that is set up for the same vhost.
struct Other {
    name: String,
    url: String,
    id: Uuid,
    db: Client,
}

impl Other {
    async fn of(stack: &Stack) -> Self {
        let name = format!("other_{}", stack.suffix());
        let url = engines::create_database(&name).await;
        let db = engines::connect(&url).await;
        // Tests copy their databases, and a copy has the id of the original.
        let words = ["installation", "renew", "--yes", "--why", "a copy"];
        let renewed = holdfast(&[("DATABASE_URL", url.as_str())], &words).await;
        assert_eq!(renewed.code, 0, "{renewed:?}");
        let id = registry::load_installation(&db).await.expect("an id");
        registry::insert_topology(&db, stack.shape).await.expect("recorded");
        users::insert_user(&db, &ann(), None, None).await.expect("a user");
        Self { name, url, id, db }
    }

    async fn operate(&self, stack: &Stack, line: &str, code: i32) -> Run {
        let [_, amqp, management] = stack.operator_environment();
        let environment = [
            ("DATABASE_URL", self.url.as_str()),
            (&amqp.0, amqp.1.as_str()),
            (&management.0, management.1.as_str()),
        ];
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = holdfast(&environment, &words).await;
        assert_eq!(run.code, code, "{line}: {run:?}");
        run
    }

    fn worker(&self, stack: &Stack) -> Worker {
        stack.worker_with(&[("DATABASE_URL", self.url.as_str())])
    }

    async fn finish(self) {
        drop(self.db);
        engines::drop_database(&self.name).await;
    }
}

fn ann() -> UserId {
    "ann".parse().expect("an id")
}

async fn id_of(stack: &Stack) -> Uuid {
    registry::load_installation(&stack.db).await.expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_cannot_share_a_vhost() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let held = terminal.accepted(&server, window(86_400, 60)).await;
    assert!(worker.stop().await.success());

    let other = Other::of(&stack).await;
    let owner = id_of(&stack).await.to_string();
    for line in [
        "topology apply",
        "topology verify",
        "topology rebalance",
        "topology remove --yes --force",
        "server add lamp --capacity 1 --rate-minor 1 --currency EUR --connection-url https://x/",
        "server move lamp --partition 0",
        "account add broker-worker other_worker",
        "account add broker-billing other",
        "account rotate broker-billing other",
        "account remove broker-worker other_worker",
        &format!("terminal add {} --user ann", stack.named("other")),
    ] {
        let refused = other.operate(&stack, line, 4).await;
        for id in [&owner, &other.id.to_string()] {
            assert!(refused.stderr.contains(id), "{line}: {refused:?}");
        }
        assert_eq!(refused.stdout, "", "{line}");
    }
    let mut stranger = other.worker(&stack);
    assert!(!stranger.ended().await.success(), "{}", stranger.log());
    assert!(stranger.log().contains("belongs to installation"), "{}", stranger.log());

    // The broker has confirmed it, so it is not lost.
    let reconfirm = Command::reconfirm(new_id(), server.as_str(), held.id);
    terminal.client.send(&reconfirm).await.expect("confirmed by the broker");
    let mut stranger = other.worker(&stack);
    assert!(!stranger.ended().await.success());
    let _worker = stack.worker();
    let answer = terminal.reply_to(&reconfirm.message_id).await.answer().expect("an answer");
    assert!(matches!(answer, Answer::Reconfirmed { .. }), "{answer:?}");
    assert!(stack.drain(DEAD).await.is_empty());
    stack.operate(&[], "topology apply", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    other.finish().await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_becomes_an_installation_of_its_own() {
    let stack = Stack::new().await;
    let former = id_of(&stack).await;
    let mut worker = stack.worker();
    facts::until("it lives", async || {
        stack.ask::<i64>("select count(*) from workers", &[]).await == 1
    })
    .await;
    let shown = stack.operate(&[], "installation renew --why copy", 4).await;
    assert!(shown.stdout.contains(&former.to_string()), "{shown:?}");
    assert!(
        shown.stderr.contains("nothing was changed") && shown.stderr.contains("--yes"),
        "{shown:?}"
    );
    let refused = stack.operate(&[], "installation renew --yes --why copy", 4).await;
    let process = stack.ask::<i32>("select pid from workers", &[]).await;
    assert!(
        refused.stderr.contains(&format!("workers live: 1, the first process {process}")),
        "{refused:?}"
    );
    assert_eq!(id_of(&stack).await, former, "nothing has changed");
    assert!(worker.stop().await.success());

    let olga = [("HOLDFAST_OPERATOR", "olga")];
    let renewed = stack.operate(&olga, "installation renew --yes --why copy --json", 0).await;
    let renewed: serde_json::Value = serde_json::from_str(&renewed.stdout).expect("JSON");
    let id = id_of(&stack).await;
    assert_ne!(id, former);
    assert_eq!(renewed, serde_json::json!({ "installation": id, "former": former }));
    let audit =
        "select operator = 'olga' and why = 'copy' and before ->> 'id' = $1 and after ->> 'id' = $2
        from audit where kind = 'installation'";
    assert!(stack.ask::<bool>(audit, &[&former.to_string(), &id.to_string()]).await);
    // The vhost is the original's.
    let refused = stack.operate(&[], "topology apply", 4).await;
    assert!(refused.stderr.contains(&format!("belongs to installation {former}")), "{refused:?}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_is_taken_over_on_purpose() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let held = terminal.accepted(&server, window(86_400, 60)).await;
    let other = Other::of(&stack).await;
    let refused = other.operate(&stack, "topology apply --take-over", 4).await;
    assert!(refused.stderr.contains("has a consumer"), "{refused:?}");
    assert!(worker.stop().await.success());

    let reconfirm = Command::reconfirm(new_id(), server.as_str(), held.id);
    terminal.client.send(&reconfirm).await.expect("confirmed by the broker");
    let taken = other.operate(&stack, "topology apply --take-over", 0).await;
    let id = id_of(&stack).await;
    assert!(taken.stdout.contains(&format!("taken over from installation {id}")), "{taken:?}");
    assert!(taken.stdout.contains("messages that waited: 1"), "{taken:?}");
    let mut former = stack.worker();
    assert!(!former.ended().await.success());
    assert!(former.log().contains(&other.id.to_string()), "{}", former.log());
    stack.operate(&[], "topology apply", 4).await;

    // What waited is parked, and its sender knows that it must send it again.
    let mut stranger = other.worker(&stack);
    let answer = terminal.reply_to(&reconfirm.message_id).await.answer().expect("an answer");
    let Answer::Refused { code, retry, decided_at, .. } = &answer else { panic!("{answer:?}") };
    assert_eq!((code.as_str(), retry.as_str()), ("unknown_terminal", "same_id"));
    assert_eq!(*decided_at, None);
    stranger.logged("unknown terminal").await;
    assert!(stranger.stop().await.success());
    assert_eq!(stack.drain(DEAD).await.len(), 1, "kept for operators");

    // The other way round.
    stack.operate(&[], "topology apply --take-over", 0).await;
    let _worker = stack.worker();
    terminal.client.send(&reconfirm).await.expect("the same message");
    let answer = terminal.nth_reply_to(&reconfirm.message_id, 2).await.answer();
    assert!(matches!(answer, Ok(Answer::Reconfirmed { .. })), "{answer:?}");
    other.finish().await;
    stack.finish().await;
}

/// The broker is replaced, or taken over at the moment that a worker starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_a_vhost_that_has_become_anothers() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    terminal.accepted(&server, window(86_400, 60)).await;
    let (ours, other) = (id_of(&stack).await, Uuid::new_v4());
    installation::release(&stack.amqp, ours).await.expect("released");
    assert_eq!(installation::claim(&stack.amqp, other).await.expect("claimed"), Owner::This);
    assert_eq!(installation::owner(&stack.amqp, ours).await.unwrap(), Owner::Other(Some(other)));
    assert_eq!(installation::claim(&stack.amqp, ours).await.unwrap(), Owner::Other(Some(other)));
    let queue = partition_queue(0);
    facts::until("it lets go", async || stack.depth(&queue).await.1 == 0).await;
    worker.logged("belongs to installation").await;
    assert!(worker.runs());
    installation::release(&stack.amqp, other).await.expect("released");
    assert_eq!(installation::claim(&stack.amqp, ours).await.expect("claimed"), Owner::This);
    // It comes back by itself.
    terminal.accepted(&server, window(90_000, 60)).await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_interrupted_is_completed() {
    let stack = Stack::new().await;
    let channel = stack.amqp.create_channel().await.expect("a channel");
    let ours = installation::exchange_of(id_of(&stack).await);
    channel.exchange_delete(ours.as_str().into(), Default::default()).await.expect("deleted");
    let verified = stack.operate(&[], "topology verify", 3).await;
    assert!(verified.stdout.contains(&format!("missing: exchange {ours}")), "{verified:?}");
    stack.operate(&[], "topology apply", 0).await;
    stack.operate(&[], "topology verify", 0).await;
    let mut worker = stack.worker();
    worker.logged("consuming").await;
    assert!(worker.stop().await.success());
    // Removed, the vhost is free for others.
    stack.operate(&[], "topology remove --yes --force", 0).await;
    let owner = installation::owner(&stack.amqp, Uuid::new_v4()).await.expect("an answer");
    assert_eq!(owner, Owner::Unclaimed);
    stack.finish().await;
}

/// A terminal that the database does not know, after a restored backup, say.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_terminal_is_told_so_and_loses_nothing() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let account = stack.terminal_account("ann").await;
    let id: TerminalId = account.account().parse().expect("an id");
    stack.execute("delete from terminals where id = $1", &[&id.as_str()]).await;
    let mut terminal = Terminal::connect(&account).await;
    let mut worker = stack.worker();
    let (start, end) = window(86_400, 60);
    let request = Command::request(new_id(), server.as_str(), start, end);
    let answer = terminal.ask(&request).await;
    assert_eq!(code(&answer), Some("unknown_terminal"));
    assert_eq!(code(&terminal.show(Uuid::nil()).await), Some("unknown_terminal"));
    terminal.ask(&Command::request(new_id(), server.as_str(), start, end)).await;
    assert_eq!(stack.drain(DEAD).await.len(), 3);
    assert_eq!(worker.log().matches("unknown terminal").count(), 1, "{}", worker.log());
    let add = format!("terminal add {id} --user ann");
    let file = std::env::temp_dir().join(stack.named("url"));
    let refused = stack.operate(&[], &format!("{add} --url-file {}", file.display()), 4).await;
    assert!(refused.stderr.contains("there is no URL to write") && !file.exists(), "{refused:?}");
    let added = stack.operate(&[], &add, 0).await;
    assert_eq!(added.stdout, "", "there is no new password");
    assert!(added.stderr.contains("keeps its password"), "{added:?}");
    let kept = account.connect("with the former password").await.expect("it is still valid");
    kept.close().await.expect("closed");
    terminal.client.send(&request).await.expect("the same message");
    let answer = terminal.nth_reply_to(&request.message_id, 2).await.answer();
    assert!(matches!(answer, Ok(Answer::Accepted { .. })), "{answer:?}");
    assert!(worker.stop().await.success());
    stack.finish().await;
}
