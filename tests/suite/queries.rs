//! Queries (R13): a user's reservations page by page, and a server's free places.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::topology::QUERIES_QUEUE;
use holdfast::client::Command;
use holdfast::message::answer::{Answer, FreePlaces, ReservationView};
use uuid::Uuid;

use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, in_seconds, new_id, window};
use crate::support::{engines, facts};

async fn page(
    terminal: &mut Terminal,
    limit: Option<i64>,
    after: Option<Uuid>,
) -> (Vec<ReservationView>, Option<Uuid>) {
    match terminal.ask(&Command::list(new_id(), limit, after)).await {
        Answer::Listed { reservations, next, .. } => (reservations, next),
        other => panic!("not a list: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_reservations_come_page_by_page() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &100)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut second = stack.terminal("ann").await;
    let mut stranger = stack.terminal("bob").await;
    let _worker = stack.worker();
    assert_eq!(page(&mut terminal, None, None).await, (vec![], None));
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(terminal.accepted(&server, window(7_200 + n, 600)).await.id);
    }
    stranger.accepted(&server, window(7_200, 600)).await;
    terminal.withdraw(&server, made[1]).await;
    made.reverse();

    // Another terminal of the user sees the same.
    let (all, next) = page(&mut second, None, None).await;
    assert_eq!(all.iter().map(|view| view.id).collect::<Vec<_>>(), made, "newest first");
    assert_eq!(next, None);
    assert_eq!(all[3].state, "cancelled");
    let (first, next) = page(&mut terminal, Some(2), None).await;
    let (second, next_but_one) = page(&mut terminal, Some(2), next).await;
    let (third, last) = page(&mut terminal, Some(2), next_but_one).await;
    assert_eq!((first.len(), second.len(), third.len(), last), (2, 2, 1, None));
    assert_eq!([first, second, third].concat(), all);
    // A full last page is the last one.
    assert_eq!(page(&mut terminal, Some(5), None).await.1, None);
    stack.finish().await;
}

/// A list that must be told, with its time of reading and the instant up to which it is complete.
async fn listed(terminal: &mut Terminal) -> (Vec<ReservationView>, DateTime<Utc>, DateTime<Utc>) {
    match terminal.ask(&Command::list(new_id(), None, None)).await {
        Answer::Listed { reservations, next: None, decided_at, as_of } => {
            (reservations, decided_at, as_of)
        }
        other => panic!("{other:?}"),
    }
}

fn states(page: &[ReservationView]) -> Vec<&str> {
    page.iter().map(|view| view.state.as_str()).collect()
}

/// Queries have no place in the order of commands, but see each one that is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_sees_what_was_answered_before_it() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &100), ("late_booking", &"confirm")]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let old = terminal.accepted(&server, window(7_200, 600)).await;
    terminal.accepted(&server, window(8_000, 600)).await;
    terminal.accepted(&server, window(30, 600)).await;
    let answer = terminal.withdraw(&server, old.id).await;
    let Answer::Withdrawn { decided_at: withdrawn_at, .. } = answer else { panic!("{answer:?}") };

    let (page, read_at, as_of) = listed(&mut terminal).await;
    assert_eq!(states(&page), ["confirmed", "held", "cancelled"]);
    assert_eq!(page[0].connection.as_ref().expect("told").url, "rtmp://cam.example/live");
    assert!(withdrawn_at < read_at && withdrawn_at < as_of);
    assert!((as_of - read_at).abs() < TimeDelta::seconds(1), "the primary is up to date");
    terminal.accepted(&server, window(8_000, 600)).await;
    let (page, ..) = listed(&mut terminal).await;
    assert_eq!(states(&page), ["held", "confirmed", "held", "cancelled"]);
    stack.finish().await;
}

/// While a partition cannot decide, queries are answered as things stand.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_does_not_wait_for_the_commands_ahead_of_it() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &100)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let held = terminal.accepted(&server, window(7_200, 600)).await;
    let holder = engines::connect(&stack.database_url).await;
    holder.batch_execute("begin; select from servers for no key update").await.expect("locked");
    let (start, end) = window(8_000, 600);
    let stuck = [
        Command::request(new_id(), "cam", start, end),
        Command::reconfirm(new_id(), "cam", held.id),
    ];
    terminal.client.send_all(&stuck).await.expect("sent");
    let answer = terminal.show(held.id).await;
    let Answer::Shown { reservation, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(reservation, held);
    assert_eq!(listed(&mut terminal).await.0, [held]);
    let (told, ..) = free(&mut terminal, "cam", start, end).await;
    assert_eq!(told.iter().map(|span| span.places).collect::<Vec<_>>(), [100]);
    assert!(stuck.iter().all(|command| terminal.answers_to(&command.message_id).is_empty()));
    holder.batch_execute("rollback").await.expect("let go");
    for command in &stuck {
        let answer = terminal.reply_to(&command.message_id).await.answer().expect("an answer");
        assert_eq!(code(&answer), None, "{answer:?}");
    }
    let (page, ..) = listed(&mut terminal).await;
    assert_eq!(states(&page), ["held", "reconfirmed"]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_not_stored_and_its_id_stays_free() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &2)]).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let held = terminal.accepted(&server, window(7_200, 600)).await;
    let show = Command::show("same", held.id);
    let answer = terminal.ask(&show).await;
    assert_eq!(answer.reservation().expect("shown").state, "held");
    terminal.reconfirm(&server, held.id).await;
    // Asked again, it is answered anew, and never held against another message of the same id.
    terminal.client.send(&show).await.expect("sent");
    let answer = terminal.nth_reply_to("same", 2).await.answer().expect("an answer");
    assert_eq!(answer.reservation().expect("shown").state, "reconfirmed");
    terminal.client.send(&Command::list("same", None, None)).await.expect("sent");
    assert_eq!(terminal.nth_reply_to("same", 3).await.type_name, "reservation.listed");
    let (start, end) = window(7_200, 600);
    let request = Command::request("same", "cam", start, end);
    terminal.client.send(&request).await.expect("sent");
    assert_eq!(terminal.nth_reply_to("same", 4).await.type_name, "reservation.accepted");
    terminal.client.send(&show).await.expect("sent");
    assert_eq!(terminal.nth_reply_to("same", 5).await.type_name, "reservation.shown");
    let kinds = "select array_agg(kind order by kind) from processed_commands";
    assert_eq!(stack.ask::<Vec<String>>(kinds, &[]).await, ["reconfirm", "request", "request"]);
    stack.finish().await;
}

/// Queries are not tied to a partition: whoever is there answers.
#[tokio::test(flavor = "multi_thread")]
async fn every_worker_answers_queries() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    let mut workers = [stack.worker(), stack.worker()];
    let consumers = async |count| {
        facts::until("workers wait for queries", async || {
            stack.depth(QUERIES_QUEUE).await.1 == count
        })
        .await;
    };
    consumers(2).await;
    for _ in 0..4 {
        assert_eq!(page(&mut terminal, None, None).await, (vec![], None));
    }
    workers[0].kill();
    consumers(1).await;
    for _ in 0..4 {
        assert_eq!(page(&mut terminal, None, None).await, (vec![], None));
    }
    assert!(workers[1].stop().await.success());
    stack.finish().await;
}

async fn free(
    terminal: &mut Terminal,
    server: &str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> (Vec<FreePlaces>, DateTime<Utc>, bool) {
    match terminal.ask(&Command::availability(new_id(), server, start, end)).await {
        Answer::Availability { server: view, end_at, free, .. } => {
            assert_eq!(view.id, server);
            assert_eq!((view.price_per_hour.amount_minor, view.lead_seconds), (3_600, 60));
            (free, end_at, view.open)
        }
        other => panic!("not told: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn free_places_are_told_over_time() {
    let mut stack = Stack::new().await;
    let columns: [(&str, &(dyn tokio_postgres::types::ToSql + Sync)); 2] =
        [("capacity", &2), ("gap_seconds", &10)];
    let server = stack.server("cam", &columns).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let base = in_seconds(7_200);
    let at = |seconds| base + TimeDelta::seconds(seconds);
    terminal.accepted(&server, (at(100), at(200))).await;
    let two = terminal.accepted(&server, (at(150), at(300))).await;
    stack
        .execute(
            "insert into closures (server_id, start_at, end_at) values ('cam', $1, $2)",
            &[&at(500), &at(600)],
        )
        .await;
    let spans = |free: &[FreePlaces]| -> Vec<(i64, i64, u64)> {
        let from = |instant: DateTime<Utc>| (instant - base).num_seconds();
        free.iter().map(|span| (from(span.start_at), from(span.end_at), span.places)).collect()
    };
    let (told, end_at, open) = free(&mut terminal, "cam", at(0), at(1_000)).await;
    let expected = [
        (0, 90, 2),
        (90, 140, 1),
        (140, 210, 0),
        (210, 310, 1),
        (310, 500, 2),
        (500, 600, 0),
        (600, 1_000, 2),
    ];
    assert_eq!(spans(&told), expected, "each turn-around and the maintenance included");
    assert_eq!((end_at, open), (at(1_000), true));
    // What is told as free can be taken, and what is not cannot. A turn-around may lie in maintenance.
    let last = terminal.accepted(&server, (at(450), at(500))).await;
    terminal.withdraw(&server, last.id).await;
    let before = terminal.accepted(&server, (at(135), at(140))).await;
    terminal.withdraw(&server, before.id).await;
    assert_eq!(terminal.refused(&server, (at(135), at(141))).await, "capacity_exceeded");
    assert_eq!(terminal.refused(&server, (at(205), at(208))).await, "capacity_exceeded");
    terminal.withdraw(&server, two.id).await;
    let (told, ..) = free(&mut terminal, "cam", at(150), at(400)).await;
    assert_eq!(spans(&told), [(150, 210, 1), (210, 400, 2)]);
    stack.execute("update servers set open = false", &[]).await;
    let (told, _, open) = free(&mut terminal, "cam", at(150), at(400)).await;
    assert_eq!((spans(&told), open), (vec![(150, 400, 0)], false), "nothing can be had");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_to_tell_is_told_in_parts() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    stack.user("bob", Some(1 << 40), Some(1 << 20)).await;
    let mut busy = stack.terminal("bob").await;
    let _worker = stack.worker();
    let base = in_seconds(7_200);
    let at = |seconds| base + TimeDelta::seconds(seconds);
    let commands: Vec<Command> = (0..1_200)
        .map(|n| Command::request(new_id(), server.as_str(), at(2 * n), at(2 * n + 1)))
        .collect();
    busy.client.send_all(&commands).await.expect("sent");
    facts::until("all are booked", async || busy.first_answers().len() == commands.len()).await;
    let (mut from, mut parts, mut taken) = (at(0), 0, 0);
    while from < at(3_000) {
        let (told, end_at, _) = free(&mut terminal, "cam", from, at(3_000)).await;
        assert!(end_at > from, "it gets on");
        assert!(told.iter().zip(&told[1..]).all(|(a, b)| a.end_at == b.start_at), "without gaps");
        assert_eq!(told.last().expect("something").end_at, end_at);
        taken += told.iter().filter(|span| span.places == 0).count();
        (from, parts) = (end_at, parts + 1);
    }
    assert_eq!(taken, 1_200, "every reservation shows once");
    assert!(parts > 2, "an answer is bounded");
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_query_is_told() {
    let mut stack = Stack::new().await;
    let mut terminal = stack.terminal("ann").await;
    stack.server("cam", &[]).await;
    let _worker = stack.worker();
    let (start, end) = window(100, 100);
    let refused = async |terminal: &mut Terminal, command: Command| {
        let answer = terminal.ask(&command).await;
        let Answer::Refused { code, field, .. } = answer else { panic!("{answer:?}") };
        (code, field)
    };
    let with_body = |command: Command, body: &str| Command { body: body.into(), ..command };
    let list = || Command::list(new_id(), None, None);
    let window = |start, end| Command::availability(new_id(), "cam", start, end);
    let field = |code: &str, field: &str| (code.to_owned(), Some(field.to_owned()));
    for (command, expected) in [
        (Command::availability(new_id(), "none", start, end), ("unknown_server".to_owned(), None)),
        (window(end, start), field("invalid_interval", "end_at")),
        (window(start, start + TimeDelta::days(32)), field("out_of_range", "end_at")),
        // Among the commands to a server it is no command.
        (
            Command { server: Some("cam".into()), ..window(start, end) },
            field("unknown_command", "routing_key"),
        ),
        (Command { server: Some("cam".into()), ..list() }, field("unknown_command", "routing_key")),
        (Command::availability(new_id(), "Cam", start, end), field("invalid_text", "server")),
        (Command::show(new_id(), Uuid::nil()), ("unknown_reservation".to_owned(), None)),
        (
            with_body(Command::show(new_id(), Uuid::nil()), "{}"),
            field("missing_field", "reservation"),
        ),
        (Command::list(new_id(), Some(0), None), field("out_of_range", "limit")),
        (Command::list(new_id(), Some(51), None), field("out_of_range", "limit")),
        (with_body(list(), r#"{"limit":1.5}"#), field("invalid_type", "limit")),
        (with_body(list(), r#"{"limit":"1"}"#), field("invalid_type", "limit")),
        (with_body(list(), r#"{"limit":1e99}"#), field("out_of_range", "limit")),
        (with_body(list(), r#"{"after":"x"}"#), field("invalid_text", "after")),
        (with_body(list(), r#"{"before":"x"}"#), field("unknown_field", "before")),
    ] {
        let shown = format!("{command:?}");
        assert_eq!(refused(&mut terminal, command).await, expected, "{shown}");
    }
    assert_eq!(code(&terminal.ask(&window(start, end)).await), None);
    let stored: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
    assert_eq!(stored, 0, "not even a refusal of the rules");
    stack.finish().await;
}
