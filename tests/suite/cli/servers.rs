//! Servers and closures.

use holdfast::domain::refusal::Code;

use super::operator;
use crate::support::database::{Database, Row};
use crate::support::program::Transcript;
use crate::support::stack::Stack;
use crate::support::terminal::window;

const ADD: &str =
    "--capacity 4 --rate-minor 1250 --currency EUR --connection-url https://a.example/";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_shown_and_everything_about_it_can_be_set() {
    let stack = Stack::with_partitions(2).await;
    let mut operator = operator(&stack);
    operator.run(&format!("server add cam {ADD} --partition 2"), 4).await;
    operator.run(&format!("server add cam {ADD} --partition 1"), 0).await;
    operator.run(&format!("server add other {ADD} --json"), 0).await;
    operator.run("server show cam", 0).await;
    operator.run("server show none", 4).await;
    operator.run("server set cam --rate-minor 1500", 0).await;
    operator.run("server set cam --rate-minor 1500 --currency EUR", 0).await;
    operator.run("server set cam --currency CHF --capacity 2 --json", 0).await;
    operator.run("server set cam --min-seconds 90000", 4).await;
    operator.run("server set cam --min-seconds 90000 --max-seconds 180000", 0).await;
    let rest = "--slot-seconds 30 --gap-seconds 10 --lead-seconds 60 --horizon-seconds 1000 \
                --late-booking confirm --connection-url https://b.example/";
    operator.run(&format!("server set cam {rest}"), 0).await;
    operator.run("server set cam --reminder-seconds 0", 0).await;
    operator.run("server set none --capacity 1", 4).await;
    operator.run("server close cam", 0).await;
    operator.run("server close cam --json", 0).await;
    operator.run("server close none", 4).await;
    let mut worker = stack.worker();
    operator.run("server move cam --partition 0", 0).await;
    operator.run("server move cam --partition 1 --json", 0).await;
    operator.run("server move cam --partition 1", 0).await;
    assert!(worker.stop().await.success());
    let reason = ["server", "closure", "add", "cam", "--start", "2091-03-05T01:00:00Z"];
    let line = format!("{} --end 2091-03-05T02:00:00Z --reason disks", reason.join(" "));
    operator.run(&line, 0).await;
    operator.run("server show cam", 0).await;
    operator.run("server show cam --json", 0).await;
    operator.run("server open cam", 0).await;
    operator.run("server open cam --json", 0).await;
    operator.check("server");
    stack.finish().await;
}

#[tokio::test]
async fn a_closure_names_the_reservations_that_it_touches() {
    let database = Database::new().await;
    database.server("cam", 9, 0).await;
    database.server("other", 9, 0).await;
    database.user("ann", None).await;
    database.user("bob", None).await;
    let inside = Row { state: "confirmed", ..Row::held(70.0, 80.0) };
    let rows = [
        Row { user: "bob", ..Row::held(0.0, 61.0) },
        inside,
        // These only touch its ends, are cancelled, or are another server's.
        Row::held(30.0, 60.0),
        Row::held(120.0, 150.0),
        Row { state: "cancelled", ..Row::held(70.0, 80.0) },
        Row { server: "other", ..Row::held(70.0, 80.0) },
    ];
    for row in &rows {
        database.accepts(&row.insert()).await;
    }
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    let hour = "--start 2091-03-05T01:00:00Z --end 2091-03-05T02:00:00Z";
    operator.run(&format!("server closure add cam {hour} --reason disks"), 0).await;
    operator.run(&format!("server closure add cam {hour} --json"), 0).await;
    operator.run("server closure add other --start +0s --end +1h", 0).await;
    operator.run(&format!("server closure add none {hour}"), 4).await;
    let inverted = "--start 2091-03-05T02:00:00Z --end 2091-03-05T01:00:00Z";
    operator.run(&format!("server closure add cam {inverted}"), 4).await;
    let over = "--start 2021-03-05T01:00:00Z --end 2021-03-05T02:00:00Z";
    operator.run(&format!("server closure add cam {over}"), 4).await;
    database
        .accepts("insert into closures (server_id, start_at, end_at) values ('cam', '2021-01-01Z', '2021-01-02Z')")
        .await;
    operator.run("server closure list", 0).await;
    operator.run("server closure list cam --all", 0).await;
    operator.run("server closure list other --json", 0).await;
    operator.run("server closure list none", 4).await;
    operator.run("server closure remove 1", 0).await;
    operator.run("server closure remove 1", 4).await;
    operator.run("server closure remove 2 --json", 0).await;
    operator.run("server closure list cam", 0).await;
    operator.check("closures");
    let kept: i64 =
        database.ask("select count(*) from reservations where state <> 'cancelled'").await;
    assert_eq!(kept, 5);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_or_disabled_takes_no_new_requests() {
    let mut stack = Stack::new().await;
    let mut worker = stack.worker();
    let cam = stack.server("cam", &[("capacity", &9i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut operator = operator(&stack);
    let wanted = window(100_000, 60);
    let held = terminal.accepted(&cam, wanted).await.id;

    operator.run("server close cam", 0).await;
    assert_eq!(terminal.refused(&cam, wanted).await, Code::ServerClosed.as_str());
    // What is reserved goes on.
    terminal.reconfirm(&cam, held).await;
    assert_eq!(stack.state(held).await, "reconfirmed");
    operator.run("server open cam", 0).await;
    terminal.accepted(&cam, wanted).await;

    let (start, end) = wanted;
    let times = format!("--start {} --end {}", start.to_rfc3339(), end.to_rfc3339());
    operator.run(&format!("server closure add cam {times}"), 0).await;
    assert_eq!(terminal.refused(&cam, wanted).await, Code::Closure.as_str());
    operator.run("server closure remove 1", 0).await;
    terminal.accepted(&cam, wanted).await;

    let id = terminal.id().to_owned();
    operator.run(&format!("terminal disable {id}"), 0).await;
    assert_eq!(terminal.refused(&cam, wanted).await, Code::TerminalDisabled.as_str());
    operator.run(&format!("terminal enable {id}"), 0).await;
    terminal.accepted(&cam, wanted).await;

    let price = terminal.accepted(&cam, wanted).await.price;
    operator.run("server set cam --rate-minor 7200", 0).await;
    let dearer = terminal.accepted(&cam, wanted).await.price;
    assert_eq!(dearer.amount_minor, 2 * price.amount_minor);
    assert_eq!(dearer.tariff_version, price.tariff_version + 1);
    assert!(worker.stop().await.success());
    stack.finish().await;
}
