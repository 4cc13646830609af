//! A line about a message says which one: its partition, its id, its terminal, and its reservation.

use holdfast::client::Command;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, new_id};
use crate::support::worker::Worker;

/// Makes the database refuse to write the history of one server, whoever decides it.
const UNDECIDABLE: &str = "create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'not this one' using errcode = '23514'; end $$;
    create trigger refuse before insert on history for each row when (new.server_id = 'bad')
        execute function refuse()";

/// Messages whose lines are looked for, with a reservation each.
struct Scene {
    reservation: Uuid,
    refused: String,
    unreadable: String,
    parked: String,
    dead: String,
    registered: String,
    stranger: String,
}

async fn play(stack: &mut Stack) -> Scene {
    let server = stack.server("bad", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut stranger = stack.terminal("eve").await;
    let held = {
        let window = crate::support::terminal::window(600, 60);
        terminal.accepted(&server, window).await
    };
    stack.db.batch_execute(UNDECIDABLE).await.expect("the trigger");
    stack.execute("delete from terminals where id = $1", &[&stranger.id()]).await;
    let reconfirm = |reservation| Command::reconfirm(new_id(), server.as_str(), reservation);

    let refused = reconfirm(Uuid::nil());
    assert_eq!(asked(&mut terminal, &refused).await, "unknown_reservation");
    let mut unreadable = reconfirm(held.id);
    unreadable.body = format!(r#"{{"reservation":"{}","more":1}}"#, held.id).into();
    assert_eq!(asked(&mut terminal, &unreadable).await, "unknown_field");
    let parked = reconfirm(held.id);
    assert_eq!(asked(&mut terminal, &parked).await, "internal_error");
    let dead = reconfirm(held.id);
    assert_eq!(asked(&mut stranger, &dead).await, "unknown_terminal");
    Scene {
        reservation: held.id,
        refused: refused.message_id,
        unreadable: unreadable.message_id,
        parked: parked.message_id,
        dead: dead.message_id,
        registered: terminal.id().to_owned(),
        stranger: stranger.id().to_owned(),
    }
}

async fn asked(terminal: &mut Terminal, command: &Command) -> String {
    let answer = terminal.ask(command).await;
    code(&answer).expect("it is refused").to_owned()
}

/// Every line about the scene: what it says, of which message, of whose, and of which reservation.
fn expected(scene: &Scene) -> Vec<[String; 4]> {
    let Scene { reservation, refused, unreadable, parked, dead, registered, stranger } = scene;
    let (nil, held) = (Uuid::nil(), reservation);
    let line = |text: &str, id: &str, terminal: &str, about: &dyn ToString| {
        [text.to_owned(), id.to_owned(), terminal.to_owned(), about.to_string()]
    };
    vec![
        line("refused", refused, registered, &nil),
        line("refused", unreadable, registered, &""),
        line("batch failed", parked, registered, held),
        line("batch failed", parked, registered, held),
        line("batch failed", parked, registered, held),
        line("message parked", parked, registered, held),
        line("dead letter", parked, registered, held),
        line("dead letter", dead, stranger, held),
    ]
}

const ABOUT: [&str; 4] = ["refused", "batch failed", "message parked", "dead letter"];

async fn worker(stack: &Stack, format: &str) -> Worker {
    stack.worker_with(&[("HOLDFAST_LOG_FORMAT", format)])
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_say_which_message() {
    let mut stack = Stack::new().await;
    let mut worker = worker(&stack, "json").await;
    let scene = play(&mut stack).await;
    assert!(worker.stop().await.success());
    let log = worker.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let fields: Vec<Value> = lines.map(|line| line["fields"].clone()).collect();
    let text = |fields: &Value, name: &str| fields[name].as_str().unwrap_or_default().to_owned();
    let about = fields.iter().filter(|fields| ABOUT.contains(&text(fields, "message").as_str()));
    let about: Vec<&Value> = about.collect();
    assert!(about.iter().all(|fields| fields["partition"] == json!(0)), "{log}");
    let told: Vec<[String; 4]> = about
        .iter()
        .map(|fields| {
            ["message", "message_id", "terminal", "reservation"].map(|name| text(fields, name))
        })
        .collect();
    assert_eq!(told, expected(&scene), "{log}");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_text_say_which_message() {
    let mut stack = Stack::new().await;
    let mut worker = worker(&stack, "text").await;
    let scene = play(&mut stack).await;
    assert!(worker.stop().await.success());
    let log = worker.log();
    for [text, id, terminal, about] in expected(&scene) {
        let mut fields = format!(
            " {text} partition=0 message_id=\"{id}\" terminal=\"{terminal}\" reservation={about}"
        );
        if about.is_empty() {
            fields = fields.replace(" reservation=", "");
        }
        assert!(log.contains(&fields), "{fields}\n{log}");
    }
    facts::until("the log names no other message", async || {
        log.matches("message_id=").count() == expected(&scene).len()
    })
    .await;
    stack.finish().await;
}
