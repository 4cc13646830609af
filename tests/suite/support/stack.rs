//! A complete installation per test: database, vhost, accounts, topology, workers and terminals.

use std::collections::HashMap;

use holdfast::broker::accounts::{Accounts, Purpose};
use holdfast::broker::connection::{Connection, Endpoint};
use holdfast::broker::routes::{self, Route};
use holdfast::broker::{declare, installation};
use holdfast::domain::id::{ServerId, TerminalId, UserId};
use holdfast::domain::server::LateBooking;
use holdfast::message::shape::Shape;
use holdfast::store::admin::servers::{self, NewServer};
use holdfast::store::admin::{terminals, users};
use holdfast::store::registry;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::program::{Run, holdfast};
use super::terminal::Terminal;
use super::worker::Worker;
use super::{engines, facts, invariants};

/// Levels of the delay ladder in tests: 102.3 s, and fewer queues to declare.
pub const DELAY_LEVELS: u32 = 10;

/// An installation of its own.
pub struct Stack {
    /// Told apart from other tests' accounts on the same broker.
    suffix: String,
    pub database_url: String,
    /// The same database with the workers' account.
    pub worker_url: String,
    pub db: Client,
    pub vhost: String,
    /// The workers' broker address.
    pub broker: Endpoint,
    /// A connection with the workers' account, to publish and look behind the scenes.
    pub amqp: Connection,
    pub shape: Shape,
    accounts: Vec<String>,
}

impl Stack {
    /// An installation with one partition, so that everything stands in one queue.
    pub async fn new() -> Self {
        Self::with_partitions(1).await
    }

    pub async fn with_partitions(partitions: i32) -> Self {
        Self::with_shape(Shape { partitions, delay_levels: DELAY_LEVELS }).await
    }

    pub async fn with_shape(shape: Shape) -> Self {
        let suffix = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let database = format!("t_{suffix}");
        let database_url = engines::create_database(&database).await;
        let worker_url = engines::worker_url(&database).await;
        let vhost = format!("t-{suffix}");
        engines::create_vhost(&vhost).await;
        let account = format!("worker_{suffix}");
        let broker = engines::create_account(&account, &vhost).await;
        let amqp = broker.connect("test").await.expect("the broker");
        let db = engines::connect(&database_url).await;
        let id = registry::load_installation(&db).await.expect("an id");
        let owner = installation::claim(&amqp, id).await.expect("the vhost is marked");
        assert_eq!(owner, installation::Owner::This);
        declare::apply(&amqp, shape).await.expect("the topology applies");
        registry::insert_topology(&db, shape).await.expect("the topology is recorded");
        let accounts = vec![account];
        Self { suffix, database_url, worker_url, db, vhost, broker, amqp, shape, accounts }
    }

    /// What tells this installation's names apart.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// The id of something that must be unique on the broker.
    pub fn named(&self, name: &str) -> String {
        format!("{name}-{}", self.suffix)
    }

    // --- what operators set up

    /// A server that takes nearly everything; `columns` say what is different.
    pub async fn server(&self, id: &str, columns: &[(&str, &(dyn ToSql + Sync))]) -> ServerId {
        let server = NewServer {
            id: id.parse().expect("an id"),
            capacity: 1,
            rate_minor: 3_600,
            currency: "EUR".to_owned(),
            slot_seconds: 1,
            min_seconds: 1,
            max_seconds: 86_400,
            gap_seconds: 0,
            lead_seconds: 60,
            reminder_seconds: 0,
            horizon_seconds: 63_072_000,
            late_booking: LateBooking::Reject,
            connection_url: format!("rtmp://{id}.example/live"),
            view_url: None,
            viewers_max: None,
            early_seconds: 0,
            partition: None,
        };
        let partition = servers::insert_server(&self.db, &server).await.expect("a server");
        let route = Route { server: id.to_owned(), partition: partition.expect("a new one") };
        routes::bind(&self.amqp, &[route]).await.expect("its binding");
        for (column, value) in columns {
            self.execute(&format!("update servers set {column} = $1 where id = '{id}'"), &[*value])
                .await;
        }
        server.id
    }

    /// A user, with the policy's limits unless set.
    pub async fn user(&self, id: &str, quota_seconds: Option<i64>, holds_max: Option<i32>) {
        let user: UserId = id.parse().expect("an id");
        let added = users::insert_user(&self.db, &user, quota_seconds, holds_max).await;
        assert!(added.expect("a user"));
    }

    /// A terminal of a user, connected and reading its answers. The user is made if need be.
    pub async fn terminal(&mut self, user: &str) -> Terminal {
        Terminal::connect(&self.terminal_account(user).await).await
    }

    /// A terminal of a user that nothing is connected to yet. The user is made if need be.
    pub async fn terminal_account(&mut self, user: &str) -> Endpoint {
        let count = self.accounts.len();
        let id: TerminalId = self.named(&format!("t{count}")).parse().expect("an id");
        let user: UserId = user.parse().expect("an id");
        users::insert_user(&self.db, &user, None, None).await.expect("a user");
        terminals::insert_terminal(&self.db, &id, &user).await.expect("a terminal");
        let made = self.broker_accounts().create_terminal(&id, engines::PASSWORD).await;
        made.expect("an account");
        self.accounts.push(id.to_string());
        engines::endpoint(id.as_str(), engines::PASSWORD, &self.vhost)
    }

    /// A billing system's account.
    pub async fn biller_account(&mut self) -> Endpoint {
        let account = Purpose::Billing.account(&self.suffix);
        let accounts = self.broker_accounts();
        let made = accounts.create(Purpose::Billing, &account, engines::PASSWORD).await;
        made.expect("an account");
        self.accounts.push(account.clone());
        engines::endpoint(&account, engines::PASSWORD, &self.vhost)
    }

    pub fn broker_accounts(&self) -> Accounts {
        let management = engines::MANAGEMENT_URL.as_str().parse().expect("an address");
        let accounts = Accounts::new(&management, &self.broker);
        accounts.expect("the management API")
    }

    /// Runs a statement that must succeed.
    pub async fn execute(&self, statement: &str, params: &[&(dyn ToSql + Sync)]) -> u64 {
        self.db.execute(statement, params).await.unwrap_or_else(|error| {
            panic!("{statement}: {}", error.as_db_error().map_or("?", |error| error.message()))
        })
    }

    /// The first column of the first row.
    pub async fn ask<T>(&self, query: &str, params: &[&(dyn ToSql + Sync)]) -> T
    where
        T: for<'a> tokio_postgres::types::FromSql<'a>,
    {
        self.db.query_one(query, params).await.expect("a row").get(0)
    }

    /// What an operator's commands need.
    pub fn operator_environment(&self) -> [(String, String); 3] {
        let (account, password) = (self.broker.account(), self.broker.password());
        [
            ("DATABASE_URL".to_owned(), self.database_url.clone()),
            ("AMQP_URL".to_owned(), engines::amqp_url(account, password, &self.vhost)),
            ("RABBITMQ_MANAGEMENT_URL".to_owned(), engines::MANAGEMENT_URL.to_string()),
        ]
    }

    /// Runs `holdfast` as an operator, with more environment, and expects an exit code.
    pub async fn operate(&self, more: &[(&str, &str)], line: &str, code: i32) -> Run {
        let own = self.operator_environment();
        let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = holdfast(&environment, &words).await;
        assert_eq!(run.code, code, "{line}: {run:?}");
        run
    }

    // --- workers

    /// Starts a worker with the default settings.
    pub fn worker(&self) -> Worker {
        self.worker_with(&[])
    }

    /// Starts a worker with more environment.
    pub fn worker_with(&self, environment: &[(&str, &str)]) -> Worker {
        let all = self.worker_environment(environment);
        Worker::start(&borrowed(&all))
    }

    /// Starts a worker with an HTTP endpoint and more environment.
    pub fn worker_to_ask(&self, environment: &[(&str, &str)]) -> Worker {
        let listen = [("HOLDFAST_HTTP_LISTEN", "127.0.0.1:0")];
        self.worker_with(&[&listen, environment].concat())
    }

    /// Starts a worker that sends no wake-ups of its own: it has no ladder, and the next sweep is an hour
    /// away.
    pub async fn worker_by_hand(&self) -> Worker {
        let swept = "insert into sweeps
            select partition, clock_timestamp() from topology, generate_series(0, partitions - 1) partition
            on conflict (partition) do update set swept_at = excluded.swept_at";
        self.db.execute(swept, &[]).await.expect("sweeps");
        let hour = ("HOLDFAST_SWEEP_INTERVAL_SECONDS", "3600");
        self.worker_with(&[("HOLDFAST_LADDER", "off"), hour])
    }

    /// Starts a worker with the default settings, whose standard error is `output`.
    pub fn worker_into(&self, output: std::process::Stdio) -> Worker {
        self.worker_with_into(&[], output)
    }

    /// The same with `environment`.
    pub fn worker_with_into(
        &self,
        environment: &[(&str, &str)],
        output: std::process::Stdio,
    ) -> Worker {
        let all = self.worker_environment(environment);
        Worker::start_into(&borrowed(&all), output)
    }

    fn worker_environment(&self, environment: &[(&str, &str)]) -> Vec<(String, String)> {
        let (account, password) = (self.broker.account(), self.broker.password());
        let amqp_url = engines::amqp_url(account, password, &self.vhost);
        let mut all = HashMap::from([
            ("DATABASE_URL", self.worker_url.as_str()),
            ("AMQP_URL", amqp_url.as_str()),
            // A tenth of the usual interval, so that tests of the sweep do not wait.
            ("HOLDFAST_SWEEP_INTERVAL_SECONDS", "1"),
            // Tests run side by side, and few ask.
            ("HOLDFAST_HTTP_LISTEN", "off"),
        ]);
        all.extend(environment.iter().copied());
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    // --- facts

    /// Ready messages and consumers of a queue.
    pub async fn depth(&self, queue: &str) -> (u32, u32) {
        let channel = self.amqp.create_channel().await.expect("a channel");
        let options = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel
            .queue_declare(queue.into(), options, Default::default())
            .await
            .expect("the queue exists");
        let counts = (declared.message_count(), declared.consumer_count());
        channel.close(200, "".into()).await.expect("the channel closes");
        counts
    }

    /// Waits until a reservation is in a state.
    pub async fn until_state(&self, id: Uuid, state: &str) {
        facts::until(&format!("reservation {id} is {state}"), async || {
            self.state(id).await == state
        })
        .await;
    }

    pub async fn state(&self, id: Uuid) -> String {
        self.ask("select state from reservations where id = $1", &[&id]).await
    }

    /// Waits until the outbox is empty.
    pub async fn outbox_empty(&self) {
        facts::until("the outbox is empty", async || {
            self.ask::<i64>("select count(*) from outbox", &[]).await == 0
        })
        .await;
    }

    /// Takes every message that is on a queue now.
    pub async fn drain(&self, queue: &str) -> Vec<lapin::message::Delivery> {
        let channel = self.amqp.create_channel().await.expect("a channel");
        let mut taken = Vec::new();
        let options = lapin::options::BasicGetOptions { no_ack: true };
        while let Some(got) = channel.basic_get(queue.into(), options).await.expect("basic.get") {
            taken.push(got.delivery);
        }
        channel.close(200, "".into()).await.expect("the channel closes");
        taken
    }

    /// Ends the test's installation: everything that must hold at any time still holds, and
    /// nothing is left behind.
    pub async fn finish(self) {
        let violations = invariants::violations(&self.db).await;
        assert!(violations.is_empty(), "{violations:#?}");
        self.amqp.close().await.expect("the connection closes");
        let database = format!("t_{}", self.suffix);
        engines::drop_vhost(&self.vhost).await;
        for account in &self.accounts {
            engines::drop_account(account).await;
        }
        drop(self.db);
        engines::drop_database(&database).await;
    }
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
