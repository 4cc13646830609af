//! Dead letters: filed, listed, replayed with their identity and discarded, and none is lost on the way.

use std::os::unix::process::ExitStatusExt;

use holdfast::broker::publisher::{Fate, Publisher};
use holdfast::broker::topology::DEAD;
use holdfast::message::answer::Answer;
use holdfast::message::dead_letter::encode_replay;
use holdfast::message::envelope::{DeadReason, Received};
use holdfast::worker::outgoing::dead_letter;
use lapin::types::AMQPValue;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::input::message::{Message, text};
use crate::support::program::command;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id};
use crate::support::worker::Worker;
use crate::support::{engines, facts};

const OLGA: [(&str, &str); 1] = [("HOLDFAST_OPERATOR", "olga")];

async fn operate_json(stack: &Stack, line: &str) -> Value {
    let run = stack.operate(&OLGA, &format!("{line} --json"), 0).await;
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{line}: {error}: {run:?}"))
}

async fn letters(stack: &Stack, filter: &str) -> Vec<Value> {
    let listed = operate_json(stack, &format!("dead-letter list {filter}")).await;
    listed["letters"].as_array().expect("a list").clone()
}

/// Ends a command where its failpoint says.
async fn killed_at(stack: &Stack, point: &str, line: &str) {
    let own = stack.operator_environment();
    let failpoints = format!("{point}=return");
    let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment: Vec<(&str, &str)> = own.chain([("FAILPOINTS", failpoints.as_str())]).collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let run = command(&environment, &words).spawn().expect("it runs").wait_with_output().await;
    let run = run.expect("it ends");
    assert_eq!(run.status.signal(), Some(6), "{point}: {run:?}");
}

/// What a worker has dead-lettered.
async fn dies(stack: &Stack, message: &Message, reason: DeadReason) {
    let received = Received {
        routing_key: message.routing_key.clone(),
        user_id: message.user_id.clone(),
        message_id: message.message_id.clone(),
        kind: message.kind.clone(),
        content_type: message.content_type.clone(),
        body: message.body.clone(),
        ..Received::default()
    };
    // As a worker does before it publishes anything.
    let own = "insert into worker_accounts (name) values ($1) on conflict do nothing";
    stack.execute(own, &[&stack.broker.account()]).await;
    let now = stack.ask("select clock_timestamp()", &[]).await;
    let letter = dead_letter(&received, reason, Some(0), stack.broker.account(), now);
    let mut publisher = Publisher::open(&stack.amqp).await.expect("a channel");
    assert_eq!(publisher.publish(&[letter]).await.expect("published"), [Fate::Routed]);
    publisher.close().await.expect("closed");
}

async fn decided(stack: &Stack) -> i64 {
    stack.ask("select count(*) from processed_commands", &[]).await
}

async fn answer(terminal: &Terminal, message: &Message, nth: usize) -> Vec<u8> {
    terminal.nth_reply_to(message.message_id.as_deref().expect("an id"), nth + 1).await.body
}

fn accepted(body: &[u8]) -> bool {
    matches!(serde_json::from_slice(body), Ok(Answer::Accepted { .. }))
}

/// A terminal that a restored database does not know yet: its message dies, and is decided once it is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_has_the_identity_of_its_message() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &9i32)]).await;
    let terminal = stack.terminal("ann").await;
    let id = terminal.id().to_owned();
    stack.execute("delete from terminals where id = $1", &[&id]).await;
    let mut worker = stack.worker();
    let message = Message::request(&id);
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    assert_eq!(message.publish(&connection).await, Ok(()));
    let told = answer(&terminal, &message, 0).await;
    assert!(String::from_utf8_lossy(&told).contains("unknown_terminal"));
    facts::until("a dead letter", async || stack.depth(DEAD).await.0 == 1).await;

    let listed = letters(&stack, "").await;
    assert_eq!(stack.depth(DEAD).await.0, 0, "it is filed");
    let letter = listed[0]["id"].as_str().expect("an id").to_owned();
    let expected = [json!(id), json!(message.routing_key), json!(message.message_id)];
    for (field, expected) in ["terminal", "routing_key", "message_id"].iter().zip(expected) {
        assert_eq!(listed[0][field], expected, "{listed:?}");
    }
    let shown = operate_json(&stack, &format!("dead-letter show {letter}")).await;
    assert_eq!(shown["body"].as_str().map(str::as_bytes), Some(&message.body[..]));
    let replay = format!("dead-letter replay {letter} --why restored");
    let early = operate_json(&stack, &replay).await;
    assert_eq!((&early["replayed"], &early["skipped"]), (&json!(0), &json!(1)), "{early}");
    assert!(early["letters"][0]["outcome"].as_str().expect("why").contains("terminal add"));

    stack.operate(&[], &format!("terminal add {id} --user ann"), 0).await;
    let dry = operate_json(&stack, &format!("{replay} --dry-run")).await;
    assert_eq!(dry["letters"][0]["outcome"], "replay", "{dry}");
    assert_eq!(decided(&stack).await, 0);
    // By an account that is no worker's.
    let admin = engines::create_account(&stack.named("admin"), &stack.vhost).await;
    let url = engines::amqp_url(admin.account(), admin.password(), &stack.vhost);
    stack.operate(&[("AMQP_URL", url.as_str()), OLGA[0]], &replay, 0).await;
    let first = answer(&terminal, &message, 1).await;
    assert!(accepted(&first), "{}", String::from_utf8_lossy(&first));
    let of = "select terminal_id || ' ' || message_id from processed_commands";
    let of: String = stack.ask(of, &[]).await;
    assert_eq!(of, format!("{id} {}", message.message_id.as_deref().expect("an id")));
    // The sender repeats it: the same message, byte for byte.
    assert_eq!(message.publish(&connection).await, Ok(()));
    assert_eq!(answer(&terminal, &message, 2).await, first);

    assert!(letters(&stack, "").await.is_empty());
    let closed = letters(&stack, "--closed").await;
    assert_eq!((&closed[0]["state"], &closed[0]["replays"]), (&json!("replayed"), &json!(1)));
    let audit = "select concat_ws(' ', operator, action, object_id, why) from audit where kind = 'dead_letter'";
    assert_eq!(stack.ask::<String>(audit, &[]).await, format!("olga replay {letter} restored"));
    let shown = stack.operate(&[], &format!("dead-letter show {letter}"), 0).await;
    assert!(shown.stdout.contains("replay by olga: restored"), "{shown:?}");
    connection.close().await.expect("closed");
    engines::drop_account(admin.account()).await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// Wherever a command ends, a letter is in the queue, or open, or decided, and decided once.
#[tokio::test(flavor = "multi_thread")]
async fn no_crash_loses_a_letter_or_decides_it_twice() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &9i32)]).await;
    let terminal = stack.terminal("ann").await;
    let mut worker = stack.worker();
    let message = Message::request(terminal.id());
    dies(&stack, &message, DeadReason::InternalError).await;
    killed_at(&stack, "letters-stored", "dead-letter list").await;
    facts::until("it is in the queue again", async || stack.depth(DEAD).await.0 == 1).await;
    let listed = letters(&stack, "").await;
    assert_eq!(listed.len(), 1, "stored once: {listed:?}");
    assert_eq!(stack.depth(DEAD).await.0, 0);
    let letter = listed[0]["id"].as_str().expect("an id");

    let replay = format!("dead-letter replay {letter} --why crash");
    killed_at(&stack, "replay-recorded", &replay).await;
    assert_eq!(letters(&stack, "").await[0]["state"], "replaying");
    assert_eq!(decided(&stack).await, 0);
    killed_at(&stack, "replay-confirmed", &replay).await;
    let first = answer(&terminal, &message, 0).await;
    assert!(accepted(&first), "{}", String::from_utf8_lossy(&first));
    assert_eq!(letters(&stack, "").await[0]["state"], "replaying", "nobody knows");
    let again = operate_json(&stack, &replay).await;
    assert_eq!(again["replayed"], 1, "{again}");
    assert_eq!(answer(&terminal, &message, 1).await, first);
    assert_eq!(decided(&stack).await, 1);
    assert!(letters(&stack, "").await.is_empty());
    let rows = "select count(*) from audit where kind = 'dead_letter' and why = 'crash'";
    assert_eq!(stack.ask::<i64>(rows, &[]).await, 3, "one for each attempt");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

async fn until_dead(stack: &Stack, environment: &[(&str, &str)]) {
    let mut worker: Worker = stack.worker_with(environment);
    facts::until("it is parked", async || {
        if !worker.runs() {
            worker = stack.worker_with(environment);
        }
        stack.depth(DEAD).await.0 == 1
    })
    .await;
    // The dead letter's confirm comes before its acknowledgement.
    let acknowledged = "select count(*) from delivery_attempts";
    facts::until("it is acknowledged", async || stack.ask::<i64>(acknowledged, &[]).await == 0)
        .await;
    assert!(worker.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_again_is_the_same_letter() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[]).await;
    let terminal = stack.terminal("ann").await;
    let message = Message::request(terminal.id())
        .with(|m| m.message_id = Some(format!("poison-{}", new_id())));
    dies(&stack, &message, DeadReason::InternalError).await;
    let letter = letters(&stack, "").await[0]["id"].clone();
    let replay = "dead-letter replay --reason internal_error --why repaired";
    stack.operate(&[], replay, 0).await;
    until_dead(&stack, &[("FAILPOINTS", "poison=return")]).await;
    let again = letters(&stack, "").await;
    assert_eq!(again.len(), 1);
    for (field, expected) in
        [("id", letter), ("times", json!(2)), ("replays", json!(1)), ("state", json!("open"))]
    {
        assert_eq!(again[0][field], expected, "{again:?}");
    }
    assert_eq!(again[0]["message_id"], json!(message.message_id));
    stack.operate(&[], replay, 0).await;
    let mut worker = stack.worker();
    facts::until("it is decided", async || decided(&stack).await == 1).await;
    facts::until("it is accepted", async || {
        let replies = terminal.answers_to(message.message_id.as_deref().expect("an id"));
        replies.iter().any(|reply| accepted(&reply.body))
    })
    .await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// A message only names the letter: without the operator's row it is nothing, whoever sends it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_forges_a_sender_with_a_replay() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &9i32)]).await;
    let (mut eve, ann) = (stack.terminal("eve").await, stack.terminal("ann").await);
    let mut worker = stack.worker();
    let of_ann = Message::request(ann.id());
    dies(&stack, &of_ann, DeadReason::InternalError).await;
    let open: Uuid =
        letters(&stack, "").await[0]["id"].as_str().expect("an id").parse().expect("an id");
    let connection = eve.endpoint.connect("raw").await.expect("the broker");

    // By a terminal, and by the workers' account, while nobody has asked for it.
    let named = |account: &str| {
        Message::command(account, "request", encode_replay(open))
            .with(|m| m.kind = Some("replay".to_owned()))
    };
    let by_eve = named(eve.id());
    assert_eq!(by_eve.publish(&connection).await, Ok(()));
    let refused = answer(&eve, &by_eve, 0).await;
    assert!(String::from_utf8_lossy(&refused).contains("inconsistent_message"));
    assert_eq!(named(stack.broker.account()).publish(&stack.amqp).await, Ok(()));
    // A letter that the broker makes of a message with a letter's headers.
    let forged = Message::request(eve.id())
        .with(|m| {
            m.user_id = None;
            m.kind = Some("dead_letter".to_owned());
            m.expiration = Some("0".to_owned());
        })
        .header("reason", text("internal_error"))
        .header("account", text(ann.id()))
        .header("routing-key", text(&format!("{}.request.cam", ann.id())))
        .header("partition", text("0"))
        .header("x-death", AMQPValue::Void);
    assert_eq!(forged.publish(&connection).await, Ok(()));
    facts::until("two more letters", async || stack.depth(DEAD).await.0 == 2).await;
    let all = letters(&stack, "").await;
    assert_eq!(all.len(), 3, "{all:?}");
    let vain = "dead-letter replay --from -1d --why all --dry-run";
    let vain = operate_json(&stack, vain).await;
    assert_eq!(vain["skipped"], 2, "{vain}");
    assert_eq!(decided(&stack).await, 0);

    // Once it is replayed, only the account that asked for it may.
    stack.operate(&[], &format!("dead-letter replay {open} --why repaired"), 0).await;
    let first = answer(&ann, &of_ann, 0).await;
    assert!(accepted(&first));
    let by_eve = named(eve.id());
    assert_eq!(by_eve.publish(&connection).await, Ok(()));
    let refused = answer(&eve, &by_eve, 0).await;
    assert!(String::from_utf8_lossy(&refused).contains("inconsistent_message"));
    assert_eq!(ann.replies().len(), 1, "its answer is not repeated for others");
    // A terminal's account cannot ask for it.
    let as_eve = engines::amqp_url(eve.id(), engines::PASSWORD, &stack.vhost);
    stack.operate(&[("AMQP_URL", as_eve.as_str())], "dead-letter replay --all --why x", 78).await;
    assert_eq!(code(&eve.show(Uuid::nil()).await), Some("unknown_reservation"));
    connection.close().await.expect("closed");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_selected_and_discarded() {
    let mut stack = Stack::new().await;
    let (ann, bob) = (stack.terminal("ann").await, stack.terminal("bob").await);
    for n in 0..5 {
        let message = Message::request(if n < 3 { ann.id() } else { bob.id() });
        dies(&stack, &message, DeadReason::InternalError).await;
    }
    let odd = Message::request(ann.id()).with(|m| {
        m.user_id = None;
        m.message_id = Some("a\0b".to_owned());
        m.body = vec![0xff, 0, b'x'];
    });
    dies(&stack, &odd, DeadReason::Unauthenticated).await;
    // Twice the same message is one letter.
    dies(&stack, &odd, DeadReason::Unauthenticated).await;

    let all = letters(&stack, "").await;
    assert_eq!(all.len(), 6);
    assert_eq!(all[5]["times"], 2, "{all:?}");
    let status = operate_json(&stack, "status").await;
    assert_eq!(status["filed_letters"], 6, "{status}");
    let of_bob = format!("--terminal {}", bob.id());
    assert_eq!(letters(&stack, &of_bob).await.len(), 2);
    assert_eq!(letters(&stack, "--reason unauthenticated").await.len(), 1);
    assert_eq!(letters(&stack, "--to -1h").await.len(), 0);
    let first = operate_json(&stack, "dead-letter list --limit 4").await;
    let next = first["next"].as_str().expect("more").to_owned();
    assert_eq!(letters(&stack, &format!("--limit 4 --after {next}")).await.len(), 2);
    let causes = operate_json(&stack, "dead-letter list --causes").await;
    let counts: Vec<&Value> =
        causes.as_array().expect("a list").iter().map(|cause| &cause["letters"]).collect();
    assert_eq!(counts, [3, 2, 1]);
    let shown = format!("dead-letter show {}", all[5]["id"].as_str().expect("an id"));
    let shown = stack.operate(&[], &shown, 0).await;
    assert!(shown.stdout.contains("\\xff\\x00x") && shown.stdout.contains("a?b"), "{shown:?}");
    let csv = stack.operate(&[], "dead-letter list --csv", 0).await;
    assert_eq!(csv.stdout.lines().count(), 7, "{csv:?}");

    for line in ["dead-letter discard --why x", "dead-letter replay --why x"] {
        let refused = stack.operate(&[], line, 4).await;
        assert!(refused.stderr.contains("no letter is selected"), "{refused:?}");
    }
    let dry = operate_json(&stack, &format!("dead-letter discard {of_bob} --dry-run")).await;
    assert_eq!((dry["letters"].as_array().map(Vec::len), &dry["discarded"]), (Some(2), &json!(0)));
    stack.operate(&OLGA, &format!("dead-letter discard {of_bob} --why spam"), 0).await;
    assert_eq!(letters(&stack, "").await.len(), 4);
    let rows = "select count(*) from audit where kind = 'dead_letter' and action = 'discard'
        and operator = 'olga' and why = 'spam'";
    assert_eq!(stack.ask::<i64>(rows, &[]).await, 2);
    // Without the broker what is filed is seen, and nothing is taken.
    dies(&stack, &Message::request(bob.id()), DeadReason::InternalError).await;
    let without = stack.operate(&[("AMQP_URL", "")], "dead-letter list", 0).await;
    assert!(without.stderr.contains("AMQP_URL is not set"), "{without:?}");
    assert_eq!(without.stdout.lines().count(), 5, "{without:?}");
    assert_eq!(stack.depth(DEAD).await.0, 1);
    let other = "dead-letter replay --all --why x";
    let open = stack.operate(&[], other, 3).await;
    assert!(open.stderr.contains("still open: 4"), "no server is bound: {open:?}");
    assert_eq!(letters(&stack, "").await.len(), 5, "nothing is lost");
    stack.finish().await;
}
