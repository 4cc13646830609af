//! A message whose sender cannot be answered becomes a dead letter. A terminal with too many
//! permissions still acts only as itself.

use holdfast::broker::delay::DUE_EXCHANGE;
use holdfast::broker::topology::DEAD;
use holdfast::client::Command;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray};
use rabbitmq_http_client::requests::Permissions;

use super::message::{Message, text};
use super::{ask, check, refused};
use crate::support::stack::Stack;
use crate::support::terminal::{new_id, window};
use crate::support::{engines, facts};

struct Letter {
    name: &'static str,
    message: Message,
    reason: &'static str,
    /// `None`: it came through the queue of queries.
    partition: Option<&'static str>,
}

/// A wake-up for a time long past, which would settle everything that is due.
fn wake_up(account: &str, body: &str) -> Message {
    Message::command(account, "x", body).with(|m| {
        m.exchange = DUE_EXCHANGE.to_owned();
        m.routing_key = "p0".to_owned();
        m.kind = Some("wake_up".to_owned());
    })
}

fn of_terminal(terminal: &str) -> Vec<Letter> {
    let nobody = || Message::request(terminal).with(|m| m.user_id = None);
    let of = |name, message, partition| {
        let reason = "unauthenticated";
        Letter { name, message, reason, partition }
    };
    let letter = |name, message| of(name, message, Some("0"));
    // With a key that the terminal may use: RabbitMQ 4 refuses any other.
    let [mut copy, mut death] = [(); 2].map(|()| FieldArray::default());
    copy.push(text(&format!("{terminal}.copy")));
    death.push(text(DEAD));
    vec![
        letter("no account", nobody()),
        letter(
            "no account, and nothing else",
            nobody().with(|m| {
                m.message_id = None;
                m.content_type = None;
                m.body.clear();
            }),
        ),
        letter(
            "no account, and headers that steer the broker",
            nobody()
                .header("CC", AMQPValue::FieldArray(copy))
                .header("x-death", AMQPValue::FieldArray(death)),
        ),
        letter("no account, and a large body", nobody().with(|m| m.body = vec![0xff; 1 << 20])),
        of(
            "a query of no account",
            nobody().with(|m| m.routing_key = format!("{terminal}.list")),
            None,
        ),
    ]
}

fn of_worker(account: &str) -> Vec<Letter> {
    let letter = |name, message, reason| Letter { name, message, reason, partition: Some("0") };
    let fence = |body| wake_up(account, body).with(|m| m.kind = Some("fence".to_owned()));
    vec![
        letter("a command of the workers' account", Message::request(account), "unauthenticated"),
        letter("a fence that is no JSON", fence("now"), "invalid_fence"),
        letter("an empty fence", fence(""), "invalid_fence"),
        letter("a fence without a name", fence(r#"{"server":"cam"}"#), "invalid_fence"),
        letter(
            "a fence of no server",
            fence(r#"{"server":"Cam","fence":"00000000-0000-0000-0000-000000000000"}"#),
            "invalid_fence",
        ),
        letter(
            "a fence that is called a wake-up",
            wake_up(account, r#"{"server":"cam","fence":"00000000-0000-0000-0000-000000000000"}"#),
            "invalid_wake_up",
        ),
        letter("a wake-up that is no JSON", wake_up(account, "soon"), "invalid_wake_up"),
        letter("an empty wake-up", wake_up(account, ""), "invalid_wake_up"),
        letter(
            "a wake-up at no instant",
            wake_up(account, r#"{"due_at":"soon","scheduled_until":"later","trigger":"message"}"#),
            "invalid_wake_up",
        ),
        letter(
            "a wake-up of an unknown kind",
            wake_up(
                account,
                r#"{"due_at":"2020-01-01T00:00:00Z","scheduled_until":"2020-01-01T00:00:00Z","trigger":"hand"}"#,
            ),
            "invalid_wake_up",
        ),
    ]
}

fn header(letter: &Delivery, name: &str) -> Option<String> {
    let headers = letter.properties.headers().as_ref()?;
    match headers.inner().get(name)? {
        AMQPValue::LongString(value) => Some(value.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

fn check_letter(expected: &Letter, letter: &Delivery) {
    let name = expected.name;
    assert_eq!(header(letter, "reason").as_deref(), Some(expected.reason), "{name}");
    assert_eq!(header(letter, "account"), expected.message.user_id, "{name}");
    assert_eq!(header(letter, "original-id"), expected.message.message_id, "{name}");
    assert_eq!(header(letter, "partition").as_deref(), expected.partition, "{name}");
    let kept = &expected.message.body[..expected.message.body.len().min(16_384)];
    assert!(letter.data == kept, "{name}: the body is kept up to a command's longest");
    for steering in ["CC", "x-death", "server"] {
        assert_eq!(header(letter, steering), None, "{name}: no header is copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_known_sender_becomes_a_dead_letter() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let ghosts = [stack.named("ghost"), stack.named("No.Terminal")];
    let _worker = stack.worker();
    let held = terminal.accepted(&server, window(86_400, 60)).await.id;

    let mut expected = Vec::new();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");
    for letter in of_terminal(terminal.id()) {
        assert_eq!(letter.message.publish(&connection).await, Ok(()), "{}", letter.name);
        expected.push(letter);
    }
    for letter in of_worker(stack.broker.account()) {
        assert_eq!(letter.message.publish(&stack.amqp).await, Ok(()), "{}", letter.name);
        expected.push(letter);
    }
    for (ghost, reason) in ghosts.iter().zip(["unknown_terminal", "unauthenticated"]) {
        let account = engines::create_account(ghost, &stack.vhost).await;
        let connection = account.connect("ghost").await.expect("the broker");
        let command = Command::withdraw(new_id(), "cam", held);
        let name = "an account that is no terminal";
        // A dot in the name would be one word more in the routing key.
        let word = ghost.replace('.', "-");
        let of_ghost = |kind: &str, body: Vec<u8>, partition| {
            let message = Message::command(&word, kind, body);
            let message = message.with(|m| m.user_id = Some(ghost.clone()));
            Letter { name, message, reason, partition }
        };
        for letter in [
            of_ghost("request", Message::request(ghost).body, Some("0")),
            of_ghost("withdraw", command.body.clone(), Some("0")),
            of_ghost("show", command.body.clone(), None),
        ] {
            assert_eq!(letter.message.publish(&connection).await, Ok(()), "{ghost}");
            expected.push(letter);
        }
        engines::drop_account(ghost).await;
    }

    terminal.accepted(&server, window(90_000, 60)).await;
    let dead_lettered = async || stack.depth(DEAD).await.0 as usize >= expected.len();
    facts::until("every one is a dead letter", dead_lettered).await;
    let letters = stack.drain(DEAD).await;
    assert_eq!(letters.len(), expected.len());
    for letter in &expected {
        let same = |other: &&Delivery| header(other, "original-id") == letter.message.message_id;
        check_letter(letter, letters.iter().find(same).expect("a dead letter"));
    }
    assert_eq!(terminal.replies().len(), 2, "there is no other answer");
    assert_eq!(stack.ask::<i64>("select count(*) from processed_commands", &[]).await, 2);
    assert_eq!(stack.state(held).await, "held");
    stack.finish().await;
}

/// The broker's permissions are one line of defence; the validated account name is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_with_every_right_is_still_only_itself() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let (mut terminal, mut victim) = (stack.terminal("eve").await, stack.terminal("ann").await);
    let _worker = stack.worker();
    let management = engines::management();
    let all = Permissions::full_access(terminal.id(), &stack.vhost);
    management.declare_permissions(&all).await.expect("granted");
    management.clear_topic_permissions(&stack.vhost, terminal.id(), false).await.expect("granted");
    let held = victim.accepted(&server, window(86_400, 60)).await.id;
    let id = terminal.id().to_owned();
    let connection = terminal.endpoint.connect("raw").await.expect("the broker");

    let as_victim = |word: &str| {
        let body = Command::withdraw(new_id(), "cam", held).body;
        Message::command(&id, word, body)
            .with(|m| m.routing_key = format!("{}.{word}.cam", victim.id()))
    };
    let past = r#"{"due_at":"2020-01-01T00:00:00Z","scheduled_until":"2020-01-01T00:00:00Z","trigger":"message"}"#;
    let forged = |key: &str| wake_up(&id, past).with(|m| m.routing_key = key.to_owned());
    let cases = [
        refused("another's withdrawal", as_victim("withdraw"), "forbidden_terminal", "routing_key"),
        refused("another's nonsense", as_victim("nonsense"), "forbidden_terminal", "routing_key"),
        refused(
            "a prefix",
            as_victim("withdraw").with(|m| m.routing_key = format!("{id}-x.withdraw.cam")),
            "forbidden_terminal",
            "routing_key",
        ),
        refused(
            "another's list",
            Message::command(&id, "list", "{}")
                .with(|m| m.routing_key = format!("{}.list", victim.id())),
            "forbidden_terminal",
            "routing_key",
        ),
        refused(
            "a forged fence",
            forged("p0").with(|m| m.kind = Some("fence".into())),
            "forbidden_terminal",
            "routing_key",
        ),
        refused("a forged wake-up", forged("p0"), "forbidden_terminal", "routing_key"),
        refused(
            "a forged wake-up under its own name",
            forged(&format!("{id}.p0")),
            "unknown_command",
            "routing_key",
        ),
        refused(
            "a forged wake-up as a command",
            Message::command(&id, "request", past).with(|m| m.kind = Some("wake_up".into())),
            "inconsistent_message",
            "type",
        ),
    ];
    for case in &cases {
        let reply = ask(&terminal, &connection, case).await;
        check(case, &reply);
    }
    let forged = Message::request(&id).with(|m| m.user_id = Some(victim.id().to_owned()));
    assert_eq!(forged.publish(&connection).await, Err(406), "the broker vouches for the name");
    assert_eq!(victim.replies().len(), 1, "it received nothing of this");
    assert_eq!(stack.state(held).await, "held");
    let rows: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
    assert_eq!(rows, 1);
    terminal.accepted(&server, window(90_000, 60)).await;
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}
