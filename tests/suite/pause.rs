//! Deciding is paused and resumed: what comes meanwhile waits, in order, across restarts of workers.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::topology::partition_queue;
use holdfast::client::Command;
use serde_json::Value;
use uuid::Uuid;

use crate::order::{Expected, Queued};
use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, code, in_seconds, new_id, window};

const USERS: [&str; 2] = ["ann", "bob"];
/// Seconds until the first deadline: the holds are made and the pause begins meanwhile.
const FIRST_DEADLINE: i64 = 15;
/// The servers' lead time, as the stack sets it.
const LEAD: i64 = 60;
const DEADLINES: i64 = 3;

async fn until_past(stack: &Stack, instant: DateTime<Utc>) {
    facts::until("the time has come", async || {
        stack.ask::<bool>("select clock_timestamp() > $1", &[&instant]).await
    })
    .await;
}

async fn decided(stack: &Stack) -> i64 {
    stack.ask("select count(*) from processed_commands", &[]).await
}

/// Four holds for each deadline; their ids by deadline.
async fn holds(terminal: &mut Terminal) -> BTreeMap<DateTime<Utc>, Vec<Uuid>> {
    let first = in_seconds(FIRST_DEADLINE + LEAD);
    let mut held: BTreeMap<DateTime<Utc>, Vec<Uuid>> = BTreeMap::new();
    for n in 0..DEADLINES {
        let start = first + TimeDelta::seconds(4 * n);
        for _ in 0..4 {
            let wanted = (start, start + TimeDelta::seconds(1));
            let hold = terminal.accepted(&"cam".parse().expect("an id"), wanted).await;
            held.entry(hold.deadline_at).or_default().push(hold.id);
        }
    }
    held
}

/// Every reservation and answer is as the order of the queue says.
async fn compare(stack: &Stack, terminals: &[Terminal], queued: &[Queued], expected: &Expected) {
    for (id, (state, _, _)) in &expected.reservations {
        stack.until_state(*id, state).await;
    }
    for terminal in terminals {
        facts::until("all is answered", async || {
            let own = queued.iter().filter(|queued| {
                matches!(queued, Queued::Command((sender, _)) if terminals[*sender].id() == terminal.id())
            });
            let answers = terminal.first_answers();
            own.clone().all(|queued| {
                matches!(queued, Queued::Command((_, command)) if answers.contains_key(&command.message_id))
            })
        })
        .await;
        for (id, answer) in terminal.first_answers() {
            let Some(expected) = expected.answers.get(&id) else { continue };
            assert_eq!(code(&answer).unwrap_or(answer.outcome()), *expected, "{id}");
        }
    }
}

/// The order of the queue is judged by a model of a few lines: a reconfirmation that stands before its
/// deadline's wake-up is in time, and one behind it is not, however long both have waited.
#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_decided_in_order() {
    let mut stack = Stack::new().await;
    stack.server("cam", &[("capacity", &4i32)]).await;
    stack.server("race", &[]).await;
    let mut terminals = Vec::new();
    for user in USERS {
        stack.user(user, Some(1_000_000), Some(1_000)).await;
        terminals.push(stack.terminal(user).await);
    }
    let environment = [("HOLDFAST_SWEEP", "off")];
    let mut worker = stack.worker_with(&environment);
    let held = holds(&mut terminals[0]).await;
    let scheduled = "select count(*) from timers where scheduled_until is not null";
    facts::until("all wake-ups wait", async || stack.ask::<i64>(scheduled, &[]).await == DEADLINES)
        .await;
    let mut expected = Expected::start(&stack).await;
    stack.operate(&[("HOLDFAST_OPERATOR", "olga")], "pause --why repair", 0).await;
    let queue = partition_queue(0);
    assert_eq!(stack.depth(&queue).await, (0, 0), "nobody consumes");
    let before = decided(&stack).await;

    let mut queued = Vec::new();
    let mut send = async |sender: usize, command: Command, queued: &mut Vec<Queued>| {
        terminals[sender].client.send_all(std::slice::from_ref(&command)).await.expect("sent");
        queued.push(Queued::Command((sender, command)));
    };
    let race = (in_seconds(7_200), in_seconds(7_800));
    for (passed, (deadline, ids)) in (1..).zip(&held) {
        // In time; by another user; and, once the deadline has passed, too late.
        send(0, Command::reconfirm(new_id(), "cam", ids[0]), &mut queued).await;
        send(1, Command::reconfirm(new_id(), "cam", ids[1]), &mut queued).await;
        send(passed % 2, Command::request(new_id(), "race", race.0, race.1), &mut queued).await;
        assert!(stack.ask::<bool>("select clock_timestamp() < $1", &[deadline]).await, "too slow");
        facts::until("its wake-up is queued", async || {
            stack.depth(&queue).await.0 as usize == queued.len() + 1
        })
        .await;
        queued.push(Queued::WakeUp(*deadline));
        send(0, Command::reconfirm(new_id(), "cam", ids[2]), &mut queued).await;
        if passed == 1 {
            // A pause outlives workers.
            worker.kill();
            worker = stack.worker_with(&environment);
        }
    }
    let shown = terminals[0].show(held.values().next().expect("a deadline")[0]).await;
    assert_eq!(shown.outcome(), "shown", "queries are answered: {shown:?}");
    worker.logged("answering queries").await;
    assert_eq!(decided(&stack).await, before);
    assert_eq!(stack.depth(&queue).await, (u32::try_from(queued.len()).expect("few"), 0));

    let resumed = stack.operate(&[], "resume --why done --json", 0).await;
    let resumed: Value = serde_json::from_str(&resumed.stdout).expect("JSON");
    assert_eq!(resumed["waiting"][0]["messages"], queued.len(), "{resumed}");
    assert_eq!(resumed["waiting"][0]["overdue"], 4 * DEADLINES, "{resumed}");
    expected.replay(&queued, &USERS);
    assert_eq!(expected.answers.len(), 4 * DEADLINES as usize);
    compare(&stack, &terminals, &queued, &expected).await;
    assert!(worker.stop().await.success());
    stack.finish().await;
}

/// The sweep puts one wake-up for each deadline behind what came before it, and no more while it waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_takes_its_place_in_the_queue_once() {
    let mut stack = Stack::new().await;
    let server = stack.server("cam", &[("capacity", &2i32)]).await;
    let mut terminal = stack.terminal("ann").await;
    let mut worker = stack.worker_with(&[("HOLDFAST_LADDER", "off")]);
    let wanted = window(LEAD + 10, 60);
    let in_time = terminal.accepted(&server, wanted).await;
    let late = terminal.accepted(&server, wanted).await;
    stack.operate(&[], "pause --partition 0 --why repair", 0).await;
    let queue = partition_queue(0);
    let first = Command::reconfirm(new_id(), "cam", in_time.id);
    terminal.client.send_all(&[first]).await.expect("sent");
    assert_eq!(stack.depth(&queue).await.0, 1);
    until_past(&stack, late.deadline_at).await;
    facts::until("a sweep's wake-up", async || stack.depth(&queue).await.0 >= 2).await;
    let second = Command::reconfirm(new_id(), "cam", late.id);
    terminal.client.send_all(std::slice::from_ref(&second)).await.expect("sent");
    let now: DateTime<Utc> = stack.ask("select clock_timestamp()", &[]).await;
    let later = now + TimeDelta::seconds(5);
    facts::until("several sweeps", async || {
        stack.ask::<bool>("select min(swept_at) > $1 from sweeps", &[&later]).await
    })
    .await;
    assert_eq!(stack.depth(&queue).await, (3, 0), "two commands, and one wake-up between them");
    stack.operate(&[], "resume --partition 0 --why done", 0).await;
    stack.until_state(in_time.id, "confirmed").await;
    stack.until_state(late.id, "cancelled").await;
    let answer = terminal.reply_to(&second.message_id).await;
    assert!(String::from_utf8_lossy(&answer.body).contains("already_cancelled"), "{answer:?}");
    assert!(worker.stop().await.success());
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pause_is_ended_on_its_own_and_says_why() {
    let mut stack = Stack::with_partitions(2).await;
    let [here, there] = [stack.server("cam", &[]).await, stack.server("mic", &[]).await];
    let mut terminal = stack.terminal("ann").await;
    let mut workers = [stack.worker(), stack.worker()];
    let of_server = "select partition from servers where id = $1";
    let [paused, other] = [
        stack.ask::<i32>(of_server, &[&here.as_str()]).await,
        stack.ask::<i32>(of_server, &[&there.as_str()]).await,
    ];
    assert_ne!(paused, other);
    let olga = [("HOLDFAST_OPERATOR", "olga")];
    stack.operate(&olga, "pause --server cam --why disks", 0).await;
    assert_eq!(stack.depth(&partition_queue(paused)).await.1, 0);
    // The other partition goes on, also when its worker goes.
    terminal.accepted(&there, window(86_400, 60)).await;
    assert!(workers[0].stop().await.success());
    terminal.accepted(&there, window(90_000, 60)).await;
    let (start, end) = window(86_400, 60);
    let waits = Command::request(new_id(), "cam", start, end);
    terminal.client.send_all(std::slice::from_ref(&waits)).await.expect("sent");

    let again = stack.operate(&[("HOLDFAST_OPERATOR", "otto")], "pause --server cam --why mine", 0);
    let again = again.await;
    assert!(again.stderr.contains("by olga since") && again.stderr.contains("disks"), "{again:?}");
    let moved = stack.operate(&[], &format!("server move cam --partition {other}"), 4).await;
    assert!(moved.stderr.contains("resume first"), "{moved:?}");
    for (line, said) in [
        ("resume --why x".to_owned(), format!("holdfast resume --partition {paused}")),
        (format!("resume --partition {other} --why x"), "not paused as such".to_owned()),
        ("pause --partition 2 --why x".to_owned(), "they are 0 to 1".to_owned()),
        ("pause --server none --why x".to_owned(), "server none: unknown".to_owned()),
    ] {
        let refused = stack.operate(&[], &line, 4).await;
        assert!(refused.stderr.contains(&said), "{line}: {refused:?}");
    }
    stack.operate(&[], "pause", 2).await;
    let status = stack.operate(&[], "status", 0).await;
    assert!(status.stdout.contains("(disks)"), "{status:?}");

    stack.operate(&[], "pause --why all", 0).await;
    assert_eq!(stack.depth(&partition_queue(other)).await.1, 0);
    let left = stack.operate(&[], "resume --why all", 0).await;
    assert!(left.stderr.contains("by olga since"), "{left:?}");
    terminal.accepted(&there, window(95_000, 60)).await;
    assert_eq!(stack.depth(&partition_queue(paused)).await, (1, 0));
    stack.operate(&olga, "resume --server cam --why new-disks", 0).await;
    terminal.reply_to(&waits.message_id).await;
    stack.operate(&[], "resume --why x", 4).await;

    let rows = "select array_agg(concat_ws(' ', operator, action, object_id, why) order by id)
        from audit where kind = 'pause' and object_id <> 'all'";
    let rows: Vec<String> = stack.ask(rows, &[]).await;
    let expected = [format!("olga add {paused} disks"), format!("olga remove {paused} new-disks")];
    assert_eq!(rows, expected);
    assert!(workers[1].stop().await.success());
    stack.finish().await;
}
