//! A terminal that exceeds the rate limit of commands or of queries is told to retry later, and others are
//! not slowed down.

use std::time::{Duration, Instant};

use holdfast::broker::routes::{self, Route};
use holdfast::broker::topology::reply_queue;
use holdfast::client::{Command, TerminalClient};
use holdfast::message::answer::Answer;
use holdfast::message::command::Kind;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{code, new_id, window};

const RATE: i32 = 20;
const FLOOD: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_rate_limited_and_the_others_are_served() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &1_000)]).await;
    let (mut flooder, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    stack.execute("update policy set terminal_rate_max = $1, query_rate_max = $1", &[&RATE]).await;
    let mut worker = stack.worker();
    let held = flooder.accepted(&server, window(86_400, 60)).await.id;
    let (start, end) = window(90_000, 60);
    let mut flood: Vec<Command> = (0..FLOOD)
        .map(|n| match n % 3 {
            0 => Command::request(new_id(), server.as_str(), start, end),
            1 => Command::show(new_id(), held),
            _ => Command::list(new_id(), Some(1), None),
        })
        .collect();
    // In the middle of the flood: commands that have a deadline are exempt from the limit.
    flood.insert(FLOOD / 2, Command::reconfirm(new_id(), "cam", held));
    flooder.client.send_all(&flood).await.expect("published");
    let began = Instant::now();
    other.accepted(&server, window(90_000, 60)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let answered = async || flooder.first_answers().len() == flood.len() + 1;
    facts::until("the flood is answered", answered).await;
    let answers = flooder.first_answers();
    let limited: Vec<&Command> =
        flood.iter().filter(|c| code(&answers[&c.message_id]) == Some("rate_limited")).collect();
    assert!(limited.len() > FLOOD / 2, "rate limited: {}", limited.len());
    assert!(limited.len() < FLOOD, "a share is served");
    for kind in [Kind::Request, Kind::Show, Kind::List] {
        let of_kind = flood.iter().filter(|c| c.kind == kind).count();
        let limited = limited.iter().filter(|c| c.kind == kind).count();
        assert!(limited > of_kind / 2, "rate limited: {limited} of {of_kind} {kind:?}");
        assert!(limited < of_kind, "a share is served: {kind:?}");
    }
    let reconfirmed = &answers[&flood[FLOOD / 2].message_id];
    assert!(matches!(reconfirmed, Answer::Reconfirmed { .. }), "{reconfirmed:?}");
    let limited_of = |kind| *limited.iter().find(|c| c.kind == kind).expect("one of each kind");
    let (request, list) = (limited_of(Kind::Request), limited_of(Kind::List));
    let mut waits = Vec::new();
    for limited in [request, list] {
        let Answer::Refused { retry, retry_after_ms, decided_at, .. } =
            &answers[&limited.message_id]
        else {
            panic!("{:?}", answers[&limited.message_id]);
        };
        assert_eq!((retry.as_str(), *decided_at), ("same_id", None));
        waits.push(retry_after_ms.expect("a wait"));
    }
    let stored: i64 = stack
        .ask("select count(*) from processed_commands where outcome = 'rate_limited'", &[])
        .await;
    assert_eq!(stored, 0);
    // The id is unused: the same message is decided later.
    tokio::time::sleep(Duration::from_millis(waits[0].max(waits[1]))).await;
    for (again, told) in [(request, "reservation.accepted"), (list, "reservation.listed")] {
        flooder.client.send(again).await.expect("published");
        assert_eq!(flooder.nth_reply_to(&again.message_id, 2).await.type_name, told);
    }
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// A message that is refused for the rate says when there is room for it, and then there is.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_told_is_served() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &1_000)]).await;
    let mut terminal = stack.terminal("ann").await;
    stack.execute("update policy set terminal_rate_max = 1, query_rate_max = 1", &[]).await;
    let mut worker = stack.worker();
    let (start, end) = window(90_000, 60);
    for queries in [false, true] {
        let mut refused = 0;
        for _ in 0..6 {
            let command = match queries {
                true => Command::list(new_id(), Some(1), None),
                false => Command::request(new_id(), server.as_str(), start, end),
            };
            let answer = terminal.ask(&command).await;
            let Answer::Refused { code, retry_after_ms, .. } = answer else { continue };
            assert_eq!(code, "rate_limited");
            refused += 1;
            let wait = retry_after_ms.expect("a wait");
            // A second for the next place, up to another while the promise before still counts, and half as
            // much again for jitter.
            assert!(wait <= 3_000, "{wait} ms");
            tokio::time::sleep(Duration::from_millis(wait)).await;
            terminal.client.send(&command).await.expect("published");
            let again = terminal.nth_reply_to(&command.message_id, 2).await;
            assert_ne!(again.type_name, "reservation.refused", "after {wait} ms: {again:?}");
        }
        assert!(refused > 0, "beyond the burst, queries {queries}");
    }
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// The limit of queries is another one than that of commands: neither uses the other's share.
#[tokio::test(flavor = "multi_thread")]
async fn queries_and_commands_have_limits_of_their_own() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &1_000)]).await;
    let mut terminal = stack.terminal("ann").await;
    for (limits, limited, free) in [
        ("terminal_rate_max = 1, query_rate_max = null", Kind::Request, Kind::List),
        ("terminal_rate_max = null, query_rate_max = 1", Kind::List, Kind::Request),
    ] {
        stack.execute(&format!("update policy set {limits}"), &[]).await;
        let mut worker = stack.worker();
        let (start, end) = window(90_000, 60);
        // By then the worker knows the limits.
        terminal.accepted(&server, (start, end)).await;
        let commands: Vec<Command> = (0..40)
            .map(|n| match n % 2 {
                0 => Command::request(new_id(), server.as_str(), start, end),
                _ => Command::list(new_id(), Some(1), None),
            })
            .collect();
        terminal.client.send_all(&commands).await.expect("published");
        for command in &commands {
            terminal.reply_to(&command.message_id).await;
        }
        let answers = terminal.first_answers();
        let count = |kind| {
            let limited = |c: &&Command| code(&answers[&c.message_id]) == Some("rate_limited");
            commands.iter().filter(|command| command.kind == kind).filter(limited).count()
        };
        assert!(count(limited) > 0, "{limits}");
        assert_eq!(count(free), 0, "{limits}");
        assert!(worker.stop().await.success());
    }
    stack.finish().await;
}

/// The broker confirms a transient message at once, so such answers do not delay others. Answers to
/// queries are transient, too: a query can be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn only_refusals_without_a_decision_are_transient() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    // A binding without a server: what comes through it is decided.
    let nowhere = Route { server: "nowhere".to_owned(), partition: 0 };
    routes::bind(&stack.amqp, &[nowhere]).await.expect("bound");
    let account = stack.terminal_account("ann").await;
    stack.execute("update policy set terminal_rate_max = 1", &[]).await;
    let mut worker = stack.worker();
    let mut client = TerminalClient::connect(&account).await.expect("connected");
    let (start, end) = window(86_400, 60);
    let server = server.as_str();
    let mut commands = vec![
        Command::request(new_id(), server, start, end),
        Command::request(new_id(), "nowhere", start, end),
    ];
    commands.extend((0..8).map(|_| Command::request(new_id(), server, start, end)));
    let mut malformed = Command::request(new_id(), server, start, end);
    malformed.body = b"{".to_vec();
    commands.push(malformed);
    commands.push(Command::list(new_id(), None, None));
    commands.push(Command::availability(new_id(), "nowhere", start, end));
    client.send_all(&commands).await.expect("published");
    let queue = reply_queue(client.account());
    let all = async || stack.depth(&queue).await.0 as usize == commands.len();
    facts::until("all is answered", all).await;
    let mut codes = Vec::new();
    for answer in stack.drain(&queue).await {
        let told: Answer = serde_json::from_slice(&answer.data).expect("an answer");
        let code = code(&told).map(str::to_owned);
        let id = answer.properties.correlation_id().as_ref().expect("an answer").as_str();
        let command = commands.iter().find(|command| command.message_id == id).expect("sent");
        let undecided = command.kind.is_query()
            || matches!(code.as_deref(), Some("rate_limited" | "invalid_json"));
        let mode = if undecided { 1 } else { 2 };
        assert_eq!(answer.properties.delivery_mode(), &Some(mode), "{code:?}");
        if !command.kind.is_query() {
            codes.push(code);
        }
    }
    for code in ["rate_limited", "invalid_json", "unknown_server"] {
        assert!(codes.contains(&Some(code.to_owned())), "{code}: {codes:?}");
    }
    assert!(codes.contains(&None), "one is accepted: {codes:?}");
    assert!(worker.stop().await.success());
    stack.finish().await;
}
