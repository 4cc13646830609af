//! Two users' reservations before and after a backup. Ann's terminal sends again what it sent, Ben's does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::client::{Command, Reply};
use holdfast::domain::id::ServerId;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::facts;
use crate::support::stack::Stack;
use crate::support::terminal::{Terminal, new_id, window};

/// Seconds from a reservation whose deadline shall pass during the test to that deadline: enough for what is
/// still to be done before the backup, on a busy machine.
const SOON: i64 = 75;

/// The servers' lead time, as [`Stack::server`] sets it.
const LEAD: i64 = 60;

/// A terminal and all that it has said and heard.
struct Actor {
    endpoint: Endpoint,
    terminal: Option<Terminal>,
    /// What earlier connections have heard.
    heard: Vec<Reply>,
    /// Since the backup, in order.
    sent: Vec<Command>,
    /// Of before the backup, by what is to become of it.
    held: BTreeMap<&'static str, Uuid>,
}

impl Actor {
    async fn new(stack: &mut Stack, user: &str) -> Self {
        let endpoint = stack.terminal_account(user).await;
        let terminal = Some(Terminal::connect(&endpoint).await);
        Self { endpoint, terminal, heard: Vec::new(), sent: Vec::new(), held: BTreeMap::new() }
    }

    /// Sends a command, waits for its answer, and gives the reservation in it.
    async fn ask(&mut self, command: Command) -> Uuid {
        let terminal = self.terminal.as_mut().expect("connected");
        let answer = terminal.ask(&command).await;
        self.sent.push(command);
        let answer = serde_json::to_value(&answer).expect("JSON");
        let id = answer["reservation"]["id"].as_str();
        id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no reservation: {answer}"))
    }

    async fn request(&mut self, server: &ServerId, at: (DateTime<Utc>, DateTime<Utc>)) -> Uuid {
        self.ask(Command::request(new_id(), server.as_str(), at.0, at.1)).await
    }

    async fn reconfirm(&mut self, server: &ServerId, id: Uuid) {
        self.ask(Command::reconfirm(new_id(), server.as_str(), id)).await;
    }

    async fn withdraw(&mut self, server: &ServerId, id: Uuid) {
        self.ask(Command::withdraw(new_id(), server.as_str(), id)).await;
    }

    /// All that it has heard on any connection.
    fn replies(&self) -> Vec<Reply> {
        let now = self.terminal.as_ref().map(Terminal::replies);
        self.heard.iter().cloned().chain(now.unwrap_or_default()).collect()
    }

    /// Connects anew.
    async fn connect(&mut self) {
        self.heard = self.replies();
        self.terminal = None;
        self.terminal = Some(Terminal::connect(&self.endpoint).await);
    }
}

/// Users, servers, and the biller's record.
pub struct Load {
    ann: Actor,
    ben: Actor,
    cam: ServerId,
    late: ServerId,
    /// Events as the biller received them, by id.
    bills: BTreeMap<String, Value>,
    /// What the biller forgot of.
    forgotten: String,
}

impl Load {
    pub async fn new(stack: &mut Stack) -> Self {
        let cam = stack.server("cam", &[("capacity", &100_i32)]).await;
        let columns: [(&str, &(dyn tokio_postgres::types::ToSql + Sync)); 3] =
            [("capacity", &100_i32), ("late_booking", &"confirm"), ("lead_seconds", &86_400_i32)];
        let late = stack.server("late", &columns).await;
        let (ann, ben) = (Actor::new(stack, "ann").await, Actor::new(stack, "ben").await);
        Self { ann, ben, cam, late, bills: BTreeMap::new(), forgotten: String::new() }
    }

    /// The broker accounts of workers and terminals.
    pub fn accounts(&self, stack: &Stack) -> Vec<String> {
        let accounts = [&stack.broker, &self.ann.endpoint, &self.ben.endpoint];
        accounts.map(|endpoint| endpoint.account().to_owned()).to_vec()
    }

    pub async fn before_the_backup(&mut self, stack: &Stack) {
        for actor in [&mut self.ann, &mut self.ben] {
            for (hours, fate) in [(2, "reconfirmed"), (3, "withdrawn"), (4, "left")] {
                let id = actor.request(&self.cam, window(hours * 3_600, 600)).await;
                actor.held.insert(fate, id);
            }
            for (start, fate) in [(3_600, "credited"), (7_200, "unread")] {
                let id = actor.request(&self.late, window(start, 600)).await;
                actor.held.insert(fate, id);
            }
        }
        stack.outbox_empty().await;
        for actor in [&mut self.ann, &mut self.ben] {
            for fate in ["settled again", "reconfirmed in time"] {
                let id = actor.request(&self.cam, window(LEAD + SOON, 600)).await;
                actor.held.insert(fate, id);
            }
            let id = actor.held["settled again"];
            actor.reconfirm(&self.cam, id).await;
            actor.sent.clear();
        }
        self.forgotten = self.ann.held["unread"].to_string();
    }

    pub async fn after_the_backup(&mut self, stack: &Stack) {
        for actor in [&mut self.ann, &mut self.ben] {
            let held = actor.held.clone();
            actor.reconfirm(&self.cam, held["reconfirmed in time"]).await;
            actor.reconfirm(&self.cam, held["reconfirmed"]).await;
            actor.withdraw(&self.cam, held["withdrawn"]).await;
            let new = actor.request(&self.cam, window(5 * 3_600, 600)).await;
            actor.reconfirm(&self.cam, new).await;
            actor.request(&self.late, window(10_800, 600)).await;
        }
        let cancel = format!("reservation cancel {} --reason outage", self.ben.held["credited"]);
        stack.operate(&[("HOLDFAST_OPERATOR", "olga")], &cancel, 0).await;
    }

    /// For a run by hand with a backup that is older: HOLDFAST_BACKUP_AGE_SECONDS.
    pub async fn age_the_backup(&self) {
        if let Ok(seconds) = std::env::var("HOLDFAST_BACKUP_AGE_SECONDS") {
            tokio::time::sleep(Duration::from_secs(seconds.parse().expect("seconds"))).await;
        }
    }

    /// Waits until all deadlines of this hour are settled, and everybody has heard of everything.
    pub async fn until_quiet(&self, stack: &Stack) {
        facts::until("all deadlines are settled", async || is_quiet(&stack.db).await).await;
        self.until_heard(&stack.db).await;
    }

    /// Waits until terminals have heard of each reservation what is stored.
    pub async fn until_heard(&self, db: &Client) {
        let rows = db.query("select id::text, state from reservations", &[]).await;
        let rows = rows.expect("reservations");
        let stored: Vec<(String, String)> = rows.iter().map(|it| (it.get(0), it.get(1))).collect();
        facts::until("terminals know of all reservations", async || {
            let heard = self.heard();
            stored.iter().all(|row| heard.contains(row))
        })
        .await;
    }

    /// Reservations and states of which terminals have heard.
    fn heard(&self) -> BTreeSet<(String, String)> {
        let replies = self.ann.replies().into_iter().chain(self.ben.replies());
        let bodies = replies.filter_map(|it| serde_json::from_slice::<Value>(&it.body).ok());
        let told = bodies.filter_map(|body| {
            let word = |name: &str| Some(body["reservation"][name].as_str()?.to_owned());
            Some((word("id")?, word("state")?))
        });
        told.collect()
    }

    /// Terminals connect anew, and Ann's sends again what it has sent since the backup.
    pub async fn send_again(&mut self) {
        self.ann.connect().await;
        self.ben.connect().await;
        let terminal = self.ann.terminal.as_mut().expect("connected");
        for command in &self.ann.sent {
            terminal.client.send(command).await.expect("the broker takes it");
        }
    }

    /// The biller takes what there is, and loses one bill.
    pub async fn read_bills(&mut self, stack: &Stack, queue: &str) {
        self.take_bills(&stack.amqp, queue).await;
        let forgotten = self.forgotten.clone();
        let all = self.bills.len();
        self.bills.retain(|_, event| event["subject"] != forgotten.as_str());
        assert_eq!(self.bills.len() + 1, all, "the biller knew of {forgotten}");
    }

    /// The same on the new broker.
    pub async fn read_bills_anew(&mut self, stack: &Stack, queue: &str) {
        let connection = stack.broker.connect("biller").await.expect("the broker");
        self.take_bills(&connection, queue).await;
        connection.close().await.expect("the connection closes");
    }

    async fn take_bills(&mut self, connection: &Connection, queue: &str) {
        let channel = connection.create_channel().await.expect("a channel");
        let options = lapin::options::BasicGetOptions { no_ack: true };
        while let Some(got) = channel.basic_get(queue.into(), options).await.expect("basic.get") {
            let event: Value = serde_json::from_slice(&got.delivery.data).expect("an event");
            let id = event["id"].as_str().expect("an id").to_owned();
            self.bills.entry(id).or_insert(event);
        }
        channel.close(200, "".into()).await.expect("the channel closes");
    }

    /// Ids of the events that the biller has.
    pub fn bills(&self) -> BTreeSet<String> {
        self.bills.keys().cloned().collect()
    }

    /// Writes the files that step 6 names.
    pub fn write_files(&self, folder: &Path) {
        let bills: String = self.bills.values().map(|event| format!("{event}\n")).collect();
        fs::write(folder.join("bills.jsonl"), bills).expect("written");
        for (actor, name) in [(&self.ann, "alice-1.jsonl"), (&self.ben, "bob-1.jsonl")] {
            let mut lines = Vec::new();
            for reply in actor.replies() {
                lines.extend_from_slice(&reply.body);
                lines.push(b'\n');
            }
            fs::write(folder.join(name), lines).expect("written");
        }
    }
}

/// Says which reservation was meant for what.
impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, actor) in [("ann", &self.ann), ("ben", &self.ben)] {
            for (fate, id) in &actor.held {
                writeln!(out, "{name}: {id} {fate}")?;
            }
        }
        Ok(())
    }
}

/// Whether all deadlines of this hour are settled and all bills and notices published.
pub async fn is_quiet(db: &Client) -> bool {
    let query = "select (select count(*) from reservations where state in ('held', 'reconfirmed')
                     and deadline_at < now() + interval '1 hour') + (select count(*) from outbox)";
    db.query_one(query, &[]).await.expect("a row").get::<_, i64>(0) == 0
}
