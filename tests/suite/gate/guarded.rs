//! A gate with a database of its own, and what is reserved there.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::store::admin::roles::{self, Kind};
use sha2::{Digest, Sha256};
use url::Url;
use uuid::Uuid;

use crate::support::database::{COLUMNS, Database, run};
use crate::support::streaming::free_port;
use crate::support::worker::Worker;
use crate::support::{engines, facts, http};

/// The server whose reservations the gate admits.
pub const SERVER: &str = "cam";

/// A reservation and its key.
#[derive(Debug, Clone)]
pub struct Reserved {
    pub id: Uuid,
    pub key: String,
}

/// A database, a gate, and the port where it answers hooks.
pub struct Guarded {
    pub database: Database,
    pub gate: Worker,
    pub hooks: u16,
    pub http: SocketAddr,
    environment: Vec<(String, String)>,
    log: PathBuf,
    role: String,
    /// The gate's own way to the database.
    pub url: String,
    _directory: tempfile::TempDir,
}

impl Guarded {
    /// Starts a gate in front of what is at `control`.
    pub async fn start(adapter: &str, hooks: u16, control: &str, more: &[(&str, &str)]) -> Self {
        let database = Database::new().await;
        database.server(SERVER, 3, 0).await;
        database.user("ann", None).await;
        database.accepts("update servers set busy_max_seconds = 86400").await;
        let (role, url) = account(&database.url).await;
        let directory = tempfile::tempdir().expect("a directory");
        let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let own = [
            ("DATABASE_URL", url.as_str()),
            ("HOLDFAST_HTTP_LISTEN", &http.to_string()),
            ("HOLDFAST_GATE_SERVER", SERVER),
            ("HOLDFAST_GATE_ADAPTER", adapter),
            ("HOLDFAST_GATE_CONTROL_URL", control),
            ("HOLDFAST_GATE_LISTEN", &format!("127.0.0.1:{hooks}")),
            ("HOLDFAST_GATE_NAME", "gate-1"),
        ];
        let all = own.iter().chain(more);
        let environment: Vec<(String, String)> =
            all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let log = directory.path().join("gate.log");
        let gate = started(&environment, &log);
        let guarded = Self {
            database,
            gate,
            hooks,
            http,
            environment,
            log,
            role,
            url,
            _directory: directory,
        };
        guarded.gate.logged("the plan is loaded").await;
        guarded
    }

    /// Kills the gate and starts it again, with more environment, and without waiting for a plan.
    pub fn restart(&mut self, more: &[(&str, &str)]) {
        if self.gate.runs() {
            self.gate.kill();
        }
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: Vec<_> = self.environment.iter().cloned().chain(more).collect();
        self.gate = started(&environment, &self.log);
    }

    /// Waits until it has asked the streaming server for its list.
    pub async fn up(&self) {
        facts::until("the gate has a list", async || {
            let ready = http::try_get(self.http, "/ready").await;
            ready.is_ok_and(|ready| ready.wrong("streaming_server").is_none())
        })
        .await;
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// Confirms a reservation from so many seconds from now on.
    pub async fn reserve(&self, in_seconds: f64, seconds: f64) -> Reserved {
        self.reserve_at(SERVER, in_seconds, seconds).await
    }

    /// The same on any server.
    pub async fn reserve_at(&self, server: &str, in_seconds: f64, seconds: f64) -> Reserved {
        let start = format!("now() + interval '{in_seconds} s'");
        self.confirm(server, &start, seconds).await
    }

    /// The same from the end of another one.
    pub async fn reserve_after(&self, other: &Reserved, seconds: f64) -> Reserved {
        let start = format!("(select end_at from reservations where id = '{}')", other.id);
        self.confirm(SERVER, &start, seconds).await
    }

    async fn confirm(&self, server: &str, start: &str, seconds: f64) -> Reserved {
        let id = Uuid::now_v7();
        let key = format!("hfk_{}", Uuid::new_v4().simple());
        let hash: String = Sha256::digest(&key).iter().map(|b| format!("{b:02x}")).collect();
        let end = format!("{start} + interval '{seconds} s'");
        self.past_the_guard(&format!(
            "insert into reservations ({COLUMNS}) select '{id}', 'ann-t', '{id}', 'ann', '{server}', 0,
                 {start}, {end}, {end}, {start}, 'confirmed', null, 0, 'EUR', 1, now(), now(), now();
             insert into access (reservation_id, server_id, epoch, secret_id, key_hash, changed_at)
                 values ('{id}', '{server}', 1, 's-1', '\\x{hash}', clock_timestamp())"
        ))
        .await;
        Reserved { id, key }
    }

    /// What the guard's own triggers would do is done by hand.
    async fn past_the_guard(&self, sql: &str) {
        let sql = format!("begin; set local session_replication_role = replica; {sql}; commit");
        let session = self.database.session().await;
        run(&session, &sql).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    pub async fn cancel(&self, reserved: &Reserved) {
        let id = reserved.id;
        self.past_the_guard(&format!(
            "update reservations set state = 'cancelled', cancel_reason = 'operator' where id = '{id}';
             update access set changed_at = clock_timestamp() where reservation_id = '{id}'"
        ))
        .await;
    }

    /// A new key.
    pub async fn rotate(&self, reserved: &Reserved) -> Reserved {
        let (id, key) = (reserved.id, format!("hfk_{}", Uuid::new_v4().simple()));
        let hash: String = Sha256::digest(&key).iter().map(|b| format!("{b:02x}")).collect();
        self.past_the_guard(&format!(
            "update access set epoch = epoch + 1, key_hash = '\\x{hash}', changed_at = clock_timestamp()
             where reservation_id = '{id}'"
        ))
        .await;
        Reserved { id, key }
    }

    /// Moves the end, to so many seconds from now.
    pub async fn end_in(&self, reserved: &Reserved, seconds: f64) {
        let id = reserved.id;
        let end = format!("now() + interval '{seconds} s'");
        self.past_the_guard(&format!(
            "update reservations set end_at = {end}, busy_until = {end} where id = '{id}';
             update access set changed_at = clock_timestamp() where reservation_id = '{id}'"
        ))
        .await;
    }

    /// The end of a window, and the database's time now.
    pub async fn end_and_now(&self, reserved: &Reserved) -> (DateTime<Utc>, DateTime<Utc>) {
        let query = format!(
            "select end_at, clock_timestamp() from reservations where id = '{}'",
            reserved.id
        );
        let row = self.database.client.query_one(&query, &[]).await.expect("a row");
        (row.get(0), row.get(1))
    }

    /// Waits until the gate has asked the database after what was done until now.
    pub async fn planned(&self) {
        let done: DateTime<Utc> = self.database.ask("select clock_timestamp()").await;
        facts::until("the plan is up to date", async || {
            let now: DateTime<Utc> = self.database.ask("select clock_timestamp()").await;
            let age = self.metric("holdfast_gate_plan_age_seconds").await;
            age.is_some_and(|age| now - TimeDelta::microseconds((age * 1e6) as i64) > done)
        })
        .await;
    }

    /// A metric without labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = http::try_get(self.http, "/metrics").await.ok()?.body;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Sends a hook; returns the status, and why it is denied.
    pub async fn hook(&self, path: &str, body: &str) -> (u16, String) {
        let head = format!(
            "POST /{path} HTTP/1.0\r\nHost: gate\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let address = SocketAddr::from(([127, 0, 0, 1], self.hooks));
        let answer = http::send(address, &(head + body)).await.expect("an answer");
        let denial = answer.head.lines().find_map(|line| line.strip_prefix("holdfast-denial: "));
        (answer.status, denial.unwrap_or_default().to_owned())
    }

    /// Ends the gate, and takes the database away.
    pub async fn finish(self) {
        let Self { database, gate, role, .. } = self;
        drop(gate);
        database.accepts(&format!("drop owned by {role}; drop role {role}")).await;
        database.finish().await;
    }
}

fn started(environment: &[(String, String)], log: &std::path::Path) -> Worker {
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Worker::start_gate(&environment, log.to_owned())
}

/// An account that has a gate's rights and no more.
pub async fn account(database_url: &str) -> (String, String) {
    let role = format!("gate_{}", Uuid::new_v4().simple());
    let mut client = engines::connect(database_url).await;
    let transaction = client.transaction().await.expect("a transaction");
    let password = Uuid::new_v4().to_string();
    assert!(roles::create(&transaction, &role, Kind::Gate, &password).await.expect("a role"));
    transaction.commit().await.expect("committed");
    let mut url: Url = database_url.parse().expect("a URL");
    url.set_username(&role).expect("postgres URLs have one");
    url.set_password(Some(&password)).expect("postgres URLs have one");
    (role, url.to_string())
}

/// A port for hooks.
pub fn hooks() -> u16 {
    free_port()
}
