//! Receipt order (R9): what the queue says is what happens, however late and by whomever it is
//! read. The test knows the true order, since it queues things up one after the other, and replays
//! it through a model of a few lines.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::topology::{BILLING_QUEUE, DEAD, partition_queue};
use holdfast::client::Command;
use holdfast::domain::id::ServerId;
use holdfast::message::answer::Answer;
use holdfast::message::shape::Shape;
use lapin::message::Delivery;
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
/// One terminal each.
const USERS: [&str; 4] = ["ann", "bob", "cem", "dan"];
/// Deadlines that pass while the queues grow.
const DEADLINES: i64 = 9;
/// Servers with holds at each deadline.
const SERVERS: usize = 48;
/// Holds per server and deadline: so few that a partition settles all deadlines in one batch, if a slow
/// machine queues up little between them. The model knows no slices of a settlement.
const HOLDS: usize = 1;
/// Servers with one place that everybody wants.
const RACES: usize = 20;
/// Seconds from the first request to the first deadline: the holds are made meanwhile.
const FIRST_DEADLINE: i64 = 40;
/// Seconds between two deadlines.
const BETWEEN: i64 = 4;
/// Commands that are sent at a time.
const RUN: usize = 200;
/// From the last run that is sent before a deadline to the deadline: it has to be over by then.
const MARGIN: TimeDelta = TimeDelta::seconds(2);
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
        for user in USERS {
            stack.user(user, Some(1_000_000_000_000), Some(1_000_000)).await;
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
        let mut worker = self.stack.worker_with(&[("HOLDFAST_SWEEP", "off")]);
        let first = in_seconds(FIRST_DEADLINE + LEAD);
        for n in 0..DEADLINES {
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
        let mut made = self.made.clone();
        made.sort_by_key(|(sender, _)| *sender);
        self.send(&made).await;
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

    /// Sends in order: what one terminal sends is confirmed before another sends.
    async fn send(&mut self, commands: &[(usize, Command)]) {
        for run in commands.chunk_by(|a, b| a.0 == b.0) {
            let own: Vec<Command> = run.iter().map(|(_, command)| command.clone()).collect();
            self.terminals[run[0].0].client.send_all(&own).await.expect("sent");
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
        // Runs of one sender, since senders wait for each other.
        for block in backlog.chunks_mut(RUN) {
            block.sort_by_key(|(sender, _)| *sender);
        }
        backlog
    }

    /// Sends the backlog around the deadlines, so that each command is in time for some and
    /// too late for others. Returns what stands in the queues, in order: around a deadline it waits
    /// for the wake-ups, so that it is known which commands they stand behind.
    async fn queue_up(&mut self, backlog: &[(usize, Command)]) -> Vec<Queued> {
        let mut queued = Vec::new();
        let mut sent = 0;
        let share = backlog.len() / (self.deadlines.len() + 1);
        for (passed, deadline) in (1..).zip(self.deadlines.clone()) {
            let before = sent;
            // A slow machine sends less than its share in time, and the rest later.
            while sent < before + share && self.now().await < deadline - MARGIN {
                let run = &backlog[sent..backlog.len().min(sent + RUN)];
                self.send(run).await;
                sent += run.len();
            }
            assert!(self.now().await < deadline, "a run of commands takes longer than {MARGIN}");
            facts::until("the wake-ups are queued", async || {
                self.ready().await == sent + 4 * passed
            })
            .await;
            queued.extend(backlog[before..sent].iter().cloned().map(Queued::Command));
            queued.push(Queued::WakeUp(deadline));
        }
        self.send(&backlog[sent..]).await;
        queued.extend(backlog[sent..].iter().cloned().map(Queued::Command));
        queued
    }

    /// Commands and wake-ups that wait in the partitions.
    async fn ready(&self) -> usize {
        let mut ready = 0;
        for partition in 0..4 {
            ready += self.stack.depth(&partition_queue(partition)).await.0 as usize;
        }
        ready
    }
}

/// What stands in the queues.
pub enum Queued {
    /// A command, with its sender.
    Command((usize, Command)),
    /// A deadline's wake-up, in every partition.
    WakeUp(DateTime<Utc>),
}

/// What must come of messages in the order in which they stand.
#[derive(Default)]
pub struct Expected {
    /// State of each reservation, its deadline and its user.
    pub reservations: HashMap<Uuid, (&'static str, DateTime<Utc>, String)>,
    /// What each new command is answered.
    pub answers: HashMap<String, &'static str>,
    /// Servers with one place that is taken.
    taken: HashSet<String>,
}

impl Expected {
    pub async fn start(stack: &Stack) -> Self {
        let query = "select id, deadline_at, user_id from reservations";
        let rows = stack.db.query(query, &[]).await.expect("reservations");
        let held = rows.iter().map(|row| (row.get(0), ("held", row.get(1), row.get(2))));
        Self { reservations: held.collect(), ..Self::default() }
    }

    pub fn replay(&mut self, queued: &[Queued], users: &[&str]) {
        for message in queued {
            match message {
                Queued::WakeUp(due_at) => self.settle(*due_at),
                Queued::Command((sender, command)) => {
                    if let Some(answer) = self.decide(command, users[*sender]) {
                        self.answers.insert(command.message_id.clone(), answer);
                    }
                }
            }
        }
    }

    /// `None` for a repeat of a request that was decided before.
    fn decide(&mut self, command: &Command, user: &str) -> Option<&'static str> {
        let body: Value = serde_json::from_slice(&command.body).expect("JSON");
        if let Some(id) = body["reservation"].as_str() {
            return Some(self.reconfirm(id.parse().expect("an id"), user));
        }
        let server = command.server.as_deref().expect("a server");
        if !server.starts_with("race") {
            return None;
        }
        let first = self.taken.insert(server.to_owned());
        Some(if first { "accepted" } else { "capacity_exceeded" })
    }

    fn reconfirm(&mut self, id: Uuid, user: &str) -> &'static str {
        let (state, _, owner) = self.reservations.get_mut(&id).expect("it is held");
        match *state {
            _ if user != owner => "unknown_reservation",
            "held" | "reconfirmed" => {
                *state = "reconfirmed";
                "reconfirmed"
            }
            "confirmed" => "already_confirmed",
            _ => "already_cancelled",
        }
    }

    fn settle(&mut self, due_at: DateTime<Utc>) {
        for (state, deadline, _) in self.reservations.values_mut() {
            if *deadline <= due_at {
                *state = match *state {
                    "reconfirmed" | "confirmed" => "confirmed",
                    _ => "cancelled",
                };
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_decides_across_outage_freeze_and_takeover() {
    let seed = std::env::var("HOLDFAST_ORDER_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("HOLDFAST_ORDER_SEED={seed}");
    let mut scene = Scene::set(seed).await;
    scene.make_holds().await;
    let mut expected = Expected::start(&scene.stack).await;
    let backlog = scene.backlog();
    let queued = scene.queue_up(&backlog).await;
    expected.replay(&queued, &USERS);

    let _steady = scene.stack.worker();
    let frozen = scene.stack.worker();
    facts::until("it has a batch in hand", async || frozen.log().contains(" batch ")).await;
    frozen.freeze();
    // Each command of the backlog is a row, but for repeats; each repeat has a row already.
    let total = i64::try_from(backlog.len()).expect("a count");
    let decided = "select count(*) from processed_commands";
    let at_freeze: i64 = scene.stack.ask(decided, &[]).await;
    assert!(at_freeze < total, "it was frozen in the middle");
    let overdue = "select count(*) from reservations
        where state in ('held', 'reconfirmed') and deadline_at < clock_timestamp()";
    facts::until("everything is decided and settled", async || {
        scene.stack.ask::<i64>(decided, &[]).await == total
            && scene.stack.ask::<i64>(overdue, &[]).await == 0
    })
    .await;
    frozen.thaw();
    let live = "select count(*) from workers
        where heartbeat_at > clock_timestamp() - interval '5 s'";
    facts::until("it is back", async || scene.stack.ask::<i64>(live, &[]).await == 2).await;
    facts::until("the queues are empty", async || scene.ready().await == 0).await;
    compare(&scene, &expected).await;
    scene.stack.finish().await;
}

/// Every reservation, answer and event is as the order of the queues says.
async fn compare(scene: &Scene, expected: &Expected) {
    let mut confirmed = 0;
    for (id, (state, _, _)) in &expected.reservations {
        assert_eq!(scene.stack.state(*id).await, *state, "{id}");
        confirmed += usize::from(*state == "confirmed");
    }
    let all = expected.reservations.len();
    println!("{confirmed} of {all} confirmed");
    assert!((all / 10..all - all / 10).contains(&confirmed), "both ends are reached");
    facts::until("every command is answered", async || {
        let answered: usize = scene.terminals.iter().map(|t| t.first_answers().len()).sum();
        answered == scene.made.len() + expected.answers.len()
    })
    .await;
    for terminal in &scene.terminals {
        for (id, answer) in terminal.first_answers() {
            let Some(expected) = expected.answers.get(&id) else { continue };
            assert_eq!(code(&answer).unwrap_or(answer.outcome()), *expected, "{id}");
        }
    }
    scene.stack.outbox_empty().await;
    let events = scene.stack.drain(BILLING_QUEUE).await;
    let id = |event: &Delivery| event.properties.message_id().as_ref().expect("an id").to_string();
    let ids: HashSet<String> = events.iter().map(id).collect();
    assert_eq!(ids.len(), confirmed, "one event id per confirmation");
    assert!(scene.stack.drain(DEAD).await.is_empty());
}

/// A stream of commands for one server through a partition that changes hands all the time.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_keep_the_order_while_workers_come_and_go() {
    let mut stack = Stack::new().await;
    stack.user("ann", Some(1_000_000_000_000), Some(1_000_000)).await;
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
            let decided: i64 = stack.ask("select count(*) from processed_commands", &[]).await;
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
    let rows = stack.db.query("select message_id from processed_commands order by seq", &[]).await;
    let decided: Vec<String> =
        rows.expect("processed_commands").iter().map(|row| row.get(0)).collect();
    assert!(decided == sent, "decided in the order of the queue");
    assert!(stack.drain(DEAD).await.is_empty());
    stack.finish().await;
}

/// A worker that joins takes over partitions with a backlog from one that goes on running.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_let_go_of_in_order() {
    let mut stack = Stack::with_partitions(4).await;
    stack.user("ann", Some(1_000_000_000_000), Some(1_000_000)).await;
    let mut terminal = stack.terminal("ann").await;
    let start = in_seconds(7_200);
    let mut commands = Vec::new();
    for n in 0..20 {
        stack.server(&format!("cam-{n}"), &[]).await;
    }
    for n in 0..6_000 {
        let start = start + TimeDelta::seconds(n);
        let server = format!("cam-{}", n % 20);
        commands.push(Command::request(new_id(), &server, start, start + TimeDelta::seconds(1)));
    }
    terminal.client.send_all(&commands).await.expect("sent");
    let _first = stack.worker();
    let decided = "select count(*) from processed_commands";
    facts::until("it is busy", async || stack.ask::<i64>(decided, &[]).await > 0).await;
    let _second = stack.worker();
    facts::until("every command is answered", async || {
        terminal.first_answers().len() == commands.len()
    })
    .await;
    for n in 0..20 {
        let server = format!("cam-{n}");
        let query = "select message_id from processed_commands where server_id = $1 order by seq";
        let rows = stack.db.query(query, &[&server]).await.expect("processed_commands");
        let sent = commands.iter().filter(|c| c.server.as_deref() == Some(server.as_str()));
        let sent: Vec<&str> = sent.map(|command| command.message_id.as_str()).collect();
        assert!(rows.iter().map(|row| row.get::<_, &str>(0)).eq(sent), "in the queue's order");
    }
    stack.finish().await;
}
