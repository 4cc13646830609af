//! Receipt order (R9): what the queue says is what happens, however late and by whomever it is
//! read. The test reads the true order of each partition before any worker does and replays it
//! through a model of a few lines.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::consumer::{QueueConsumer, received};
use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{BILLING_QUEUE, DEAD, Shape, partition_queue};
use holdfast::client::Command;
use holdfast::domain::id::ServerId;
use holdfast::message::answer::Answer;
use holdfast::message::envelope::Received;
use holdfast::message::wake_up;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::Value;
use uuid::Uuid;

use crate::support::facts;
use crate::support::stack::{DELAY_LEVELS, Stack};
use crate::support::terminal::{Terminal, code, in_seconds, new_id};

/// Commands that queue up while no worker runs.
const COMMANDS: usize = 20_000;
/// Servers with holds at each of three deadlines.
const SERVERS: usize = 200;
/// Holds per server and deadline.
const HOLDS: usize = 10;
/// Servers with one place that everybody wants.
const RACES: usize = 20;
/// Seconds from the first request to the first deadline: the holds are made meanwhile.
const FIRST_DEADLINE: i64 = 30;
/// Seconds between two deadlines.
const BETWEEN: i64 = 3;
/// The servers' lead time, as the stack sets it.
const LEAD: i64 = 60;

struct Scene {
    stack: Stack,
    terminals: Vec<Terminal>,
    rng: StdRng,
    deadlines: Vec<DateTime<Utc>>,
    /// Held reservations and their server.
    held: Vec<(Uuid, String)>,
    /// The requests that made them, to be repeated.
    made: Vec<(usize, Command)>,
}

impl Scene {
    async fn set(seed: u64) -> Self {
        let shape = Shape { partitions: 4, delay_levels: DELAY_LEVELS };
        let mut stack = Stack::with_shape(shape).await;
        let mut terminals = Vec::new();
        for user in ["ann", "bob", "cem", "dan"] {
            stack.user(user, Some(1 << 40), Some(1 << 20)).await;
            terminals.push(stack.terminal(user).await);
        }
        for n in 0..SERVERS {
            stack.server(&format!("cam-{n}"), &[("capacity", &(HOLDS as i32))]).await;
        }
        for n in 0..RACES {
            stack.server(&format!("race-{n}"), &[]).await;
        }
        let rng = StdRng::seed_from_u64(seed);
        Self { stack, terminals, rng, deadlines: vec![], held: vec![], made: vec![] }
    }

    /// Makes the holds, with a worker that is stopped afterwards.
    async fn make_holds(&mut self) {
        let mut worker = self.stack.worker();
        let first = in_seconds(FIRST_DEADLINE + LEAD);
        for n in 0..3 {
            let start = first + TimeDelta::seconds(n * BETWEEN);
            self.deadlines.push(start - TimeDelta::seconds(LEAD));
            for server in 0..SERVERS {
                for _ in 0..HOLDS {
                    let sender = self.rng.random_range(0..self.terminals.len());
                    let end = start + TimeDelta::seconds(1);
                    let server = format!("cam-{server}");
                    self.made.push((sender, Command::request(new_id(), &server, start, end)));
                }
            }
        }
        self.send(self.made.clone()).await;
        let made = self.made.len();
        facts::until("every hold is answered", async || {
            self.terminals.iter().map(|t| t.first_answers().len()).sum::<usize>() == made
        })
        .await;
        assert!(worker.stop().await.success());
        assert!(self.now().await < self.deadlines[0], "the machine is too slow for this test");
        for terminal in &self.terminals {
            for answer in terminal.first_answers().into_values() {
                let Answer::Accepted { reservation, .. } = answer else { panic!("{answer:?}") };
                self.held.push((reservation.id, reservation.server));
            }
        }
        self.held.sort();
    }

    async fn now(&self) -> DateTime<Utc> {
        self.stack.ask("select clock_timestamp()", &[]).await
    }

    async fn send(&mut self, commands: Vec<(usize, Command)>) {
        for (index, terminal) in self.terminals.iter_mut().enumerate() {
            let own: Vec<Command> = commands
                .iter()
                .filter(|(sender, _)| *sender == index)
                .map(|c| c.1.clone())
                .collect();
            for chunk in own.chunks(500) {
                terminal.client.send_all(chunk).await.expect("sent");
            }
        }
    }

    /// Every command of the backlog: reconfirmations, repeats, and requests for last places.
    fn backlog(&mut self) -> Vec<(usize, Command)> {
        let mut backlog = Vec::new();
        let race = (in_seconds(7_200), in_seconds(7_800));
        for n in 0..RACES {
            for sender in (0..self.terminals.len()).cycle().take(40) {
                let server = format!("race-{n}");
                backlog.push((sender, Command::request(new_id(), &server, race.0, race.1)));
            }
        }
        backlog.extend(self.made.iter().cloned());
        // A quarter of the holds is never reconfirmed, others more than once.
        let lucky = self.held.len() * 3 / 4;
        let mut lucky: Vec<(Uuid, String)> =
            self.held.choose_multiple(&mut self.rng, lucky).cloned().collect();
        lucky.sort();
        while backlog.len() < COMMANDS {
            let (id, server) = lucky.choose(&mut self.rng).expect("some are").clone();
            // By a terminal of another user it is refused, which is tried as well.
            let sender = self.rng.random_range(0..self.terminals.len());
            backlog.push((sender, Command::reconfirm(new_id(), &server, id)));
        }
        backlog.shuffle(&mut self.rng);
        backlog
    }

    /// Sends the backlog spread over the three deadlines, so that each command is in time for some
    /// and too late for others.
    async fn queue_up(&mut self, backlog: &[(usize, Command)]) {
        let from = self.now().await;
        let until = self.deadlines[2] + TimeDelta::seconds(1);
        let chunks: Vec<_> = backlog.chunks(400).map(<[_]>::to_vec).collect();
        let step = (until - from) / i32::try_from(chunks.len()).expect("a few");
        for (n, chunk) in chunks.into_iter().enumerate() {
            let at = from + step * i32::try_from(n).expect("a few");
            facts::until("it is time for the next commands", async || self.now().await >= at).await;
            self.send(chunk).await;
        }
        // Wake-ups aim a quarter of a second past their instant, and hop down the ladder.
        facts::until("commands and wake-ups are queued", async || {
            let mut on_the_way = 0;
            for level in 0..DELAY_LEVELS {
                on_the_way += self.stack.depth(&level_name(level)).await.0;
            }
            let mut queued = 0;
            for partition in 0..4 {
                queued += self.stack.depth(&partition_queue(partition)).await.0 as usize;
            }
            on_the_way == 0 && queued >= COMMANDS + 4 * self.deadlines.len()
        })
        .await;
    }

    /// The messages of a partition in their true order. They go back in that order.
    async fn read(&self, partition: i32) -> Vec<Received> {
        let queue = partition_queue(partition);
        let count = self.stack.depth(&queue).await.0 as usize;
        let mut consumer =
            QueueConsumer::open(&self.stack.amqp, &queue, u16::MAX).await.expect("consuming");
        let mut messages = Vec::new();
        while messages.len() < count {
            let batch = consumer.collect(count - messages.len()).await.expect("messages");
            messages.extend(batch.into_iter().map(received));
        }
        consumer.close().await.expect("given back");
        facts::until("all is back", async || self.stack.depth(&queue).await.0 as usize == count)
            .await;
        messages
    }
}

/// What must come of a partition's messages in the order in which they stand.
#[derive(Default)]
struct Expected {
    states: HashMap<Uuid, &'static str>,
    answers: HashMap<String, &'static str>,
    taken: HashSet<String>,
}

impl Expected {
    fn replay(
        &mut self,
        messages: &[Received],
        facts: &HashMap<Uuid, (DateTime<Utc>, String)>,
        users: &HashMap<String, String>,
    ) {
        for message in messages {
            if message.kind.as_deref() == Some("wake_up") {
                let wake_up = wake_up::decode(&message.body).expect("a wake-up");
                assert!(wake_up.armed_until >= wake_up.due_at, "no leg is that long here");
                self.settle(wake_up.due_at, facts);
                continue;
            }
            let body: Value = serde_json::from_slice(&message.body).expect("JSON");
            let id = message.message_id.clone().expect("an id");
            let sender = message.user_id.as_deref().expect("an account");
            if let Some(reservation) = body["reservation"].as_str() {
                let reservation: Uuid = reservation.parse().expect("an id");
                let mine = facts[&reservation].1 == users[sender];
                let answer = if mine { self.reconfirm(reservation) } else { "unknown_reservation" };
                self.answers.insert(id, answer);
            } else if body["server"].as_str().is_some_and(|server| server.starts_with("race")) {
                let first = self.taken.insert(body["server"].to_string());
                self.answers.insert(id, if first { "accepted" } else { "capacity_exceeded" });
            }
        }
    }

    fn reconfirm(&mut self, reservation: Uuid) -> &'static str {
        let state = self.states.entry(reservation).or_insert("held");
        match *state {
            "held" | "reconfirmed" => {
                *state = "reconfirmed";
                "reconfirmed"
            }
            "confirmed" => "already_confirmed",
            _ => "already_cancelled",
        }
    }

    fn settle(&mut self, due_at: DateTime<Utc>, facts: &HashMap<Uuid, (DateTime<Utc>, String)>) {
        for (id, (deadline, _)) in facts {
            if *deadline <= due_at {
                let state = self.states.entry(*id).or_insert("held");
                *state = match *state {
                    "reconfirmed" | "confirmed" => "confirmed",
                    _ => "cancelled",
                };
            }
        }
    }
}

/// Deadline and user of every reservation of a partition.
async fn facts_of(stack: &Stack, partition: i32) -> HashMap<Uuid, (DateTime<Utc>, String)> {
    let query = "select id, deadline_at, user_id from reservations where partition = $1";
    let rows = stack.db.query(query, &[&partition]).await.expect("reservations");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

async fn users(stack: &Stack) -> HashMap<String, String> {
    let rows = stack.db.query("select id, user_id from terminals", &[]).await.expect("terminals");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_decides_across_outage_freeze_and_takeover() {
    let seed = std::env::var("HOLDFAST_ORDER_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("HOLDFAST_ORDER_SEED={seed}");
    let mut scene = Scene::set(seed).await;
    scene.make_holds().await;
    let backlog = scene.backlog();
    scene.queue_up(&backlog).await;

    let users = users(&scene.stack).await;
    let mut expected = Expected::default();
    for partition in 0..4 {
        let facts = facts_of(&scene.stack, partition).await;
        let messages = scene.read(partition).await;
        expected.replay(&messages, &facts, &users);
    }

    let _steady = scene.stack.worker();
    let frozen = scene.stack.worker();
    facts::until("it has a batch in hand", async || frozen.log().contains(" batch ")).await;
    frozen.freeze();
    let decided = "select count(*) from requests";
    let at_freeze: i64 = scene.stack.ask(decided, &[]).await;
    // Repeats of the requests that made the holds are decided already, and those are as many.
    let total = i64::try_from(backlog.len()).expect("a count");
    assert!(at_freeze < total, "it was frozen in the middle");
    facts::until("everything is decided", async || {
        scene.stack.ask::<i64>(decided, &[]).await == total
            && scene
                .stack
                .ask("select not exists (select from reservations where deadline_at < clock_timestamp()
                          and state in ('held', 'reconfirmed'))", &[])
                .await
    })
    .await;
    frozen.thaw();
    let assigned = || frozen.log().matches("partitions assigned").count();
    facts::until("it is back", async || assigned() >= 2 && scene.stack.ask::<i64>(
        "select count(*) from workers where heartbeat_at > clock_timestamp() - interval '5 s'", &[]).await == 2).await;
    for partition in 0..4 {
        let queue = partition_queue(partition);
        facts::until("the queues are empty", async || scene.stack.depth(&queue).await.0 == 0).await;
    }
    compare(&scene, &expected).await;
    scene.stack.finish().await;
}

/// Every reservation and every answer is as the order of its partition says.
async fn compare(scene: &Scene, expected: &Expected) {
    let rows =
        scene.stack.db.query("select id, state from reservations where server_id like 'cam%'", &[]);
    let rows = rows.await.expect("reservations");
    assert_eq!(rows.len(), 3 * SERVERS * HOLDS);
    let (mut confirmed, mut cancelled) = (0, 0);
    for row in &rows {
        let (id, state): (Uuid, String) = (row.get(0), row.get(1));
        assert_eq!(state, expected.states[&id], "{id}");
        if state == "confirmed" { confirmed += 1 } else { cancelled += 1 }
    }
    println!("{confirmed} confirmed, {cancelled} cancelled");
    assert!(confirmed > 500 && cancelled > 500, "both ends are reached");
    facts::until("every command is answered", async || {
        let answered: usize = scene.terminals.iter().map(|t| t.first_answers().len()).sum();
        answered == scene.made.len() + expected.answers.len()
    })
    .await;
    for terminal in &scene.terminals {
        for (id, answer) in terminal.first_answers() {
            let Some(expected) = expected.answers.get(&id) else { continue };
            let got = code(&answer).unwrap_or(answer.outcome());
            assert_eq!(got, *expected, "{id}");
        }
    }
    scene.stack.announced().await;
    let events = scene.stack.drain(BILLING_QUEUE).await;
    let ids: HashSet<String> = events
        .iter()
        .map(|event| event.properties.message_id().as_ref().expect("an id").to_string())
        .collect();
    assert_eq!(ids.len(), confirmed, "one event id per confirmation");
    assert!(scene.stack.drain(DEAD).await.is_empty());
}

/// A stream of commands for one server through a partition that changes hands all the time.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_keep_the_order_while_workers_come_and_go() {
    let mut stack = Stack::new().await;
    stack.user("ann", Some(1 << 40), Some(1 << 20)).await;
    let mut terminal = stack.terminal("ann").await;
    let server: ServerId = stack.server("cam", &[]).await;
    let start = in_seconds(7_200);
    let mut sent = Vec::new();
    let mut workers = vec![stack.worker()];
    for round in 0..8 {
        let commands: Vec<Command> = (0..500)
            .map(|n| {
                let start = start + TimeDelta::seconds(round * 500 + n);
                Command::request(new_id(), server.as_str(), start, start + TimeDelta::seconds(1))
            })
            .collect();
        terminal.client.send_all(&commands).await.expect("sent");
        sent.extend(commands.into_iter().map(|command| command.message_id));
        // With a single partition the first in line owns it: take it away, gently and not.
        workers.push(stack.worker());
        let mut first = workers.remove(0);
        facts::until("it is busy", async || {
            let decided: i64 = stack.ask("select count(*) from requests", &[]).await;
            decided as usize > sent.len() - 450
        })
        .await;
        match round % 2 {
            0 => assert!(first.stop().await.success()),
            _ => first.kill(),
        }
    }
    facts::until("every command is answered", async || {
        terminal.first_answers().len() == sent.len()
    })
    .await;
    let rows = stack.db.query("select message_id from requests order by seq", &[]).await;
    let decided: Vec<String> = rows.expect("requests").iter().map(|row| row.get(0)).collect();
    assert!(decided == sent, "decided in the order of the queue");
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}
