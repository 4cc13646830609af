//! A database of its own for tests that need no broker, and statements typed into it by hand.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::domain::id::{ServerId, TerminalId, UserId};
use holdfast::domain::server::LateBooking;
use holdfast::store::admin::servers::{self, NewServer};
use holdfast::store::admin::{terminals, users};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

use super::{engines, invariants};

/// Takes away every reservation and its history, past the guard, as only a superuser can.
pub const CLEAR: &str = "set session_replication_role = replica; delete from reservations;
    delete from history; reset session_replication_role; select recount_use()";

/// A migrated database.
pub struct Database {
    name: String,
    pub url: String,
    pub client: Client,
}

/// Why PostgreSQL refused a statement.
#[derive(Debug)]
pub struct Refused {
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
}

impl Database {
    pub async fn new() -> Self {
        let name = format!("t_{}", Uuid::new_v4().simple());
        let url = engines::create_database(&name).await;
        let client = engines::connect(&url).await;
        Self { name, url, client }
    }

    /// Another session.
    pub async fn session(&self) -> Client {
        engines::connect(&self.url).await
    }

    /// A server that takes nearly everything, at 36.00 an hour.
    pub async fn server(&self, id: &str, capacity: i32, gap_seconds: i32) -> ServerId {
        let server = NewServer {
            id: id.parse().expect("an id"),
            capacity,
            rate_minor: 3_600,
            currency: "EUR".to_owned(),
            slot_seconds: 1,
            min_seconds: 1,
            max_seconds: 86_400,
            gap_seconds,
            lead_seconds: 3_600,
            reminder_seconds: 0,
            horizon_seconds: 63_072_000,
            late_booking: LateBooking::Reject,
            connection_url: format!("rtmp://{id}.example/live"),
            view_url: None,
            viewers_max: None,
            early_seconds: 0,
            partition: Some(0),
        };
        let added = servers::insert_server(&self.client, &server).await.expect("a server");
        assert_eq!(added, Some(0));
        server.id
    }

    /// A user and a terminal `<user>-t` of it.
    pub async fn user(&self, id: &str, quota_seconds: Option<i64>) -> TerminalId {
        let user: UserId = id.parse().expect("an id");
        let terminal: TerminalId = format!("{id}-t").parse().expect("an id");
        let added = users::insert_user(&self.client, &user, quota_seconds, None).await;
        assert!(added.expect("a user"));
        terminals::insert_terminal(&self.client, &terminal, &user).await.expect("a terminal");
        terminal
    }

    /// The first column of the first row.
    pub async fn ask<T: for<'a> FromSql<'a>>(&self, query: &str) -> T {
        match self.client.query_one(query, &[]).await {
            Ok(row) => row.get(0),
            Err(error) => panic!("{query}: {error:?}"),
        }
    }

    /// Runs what must succeed, in a session of its own.
    pub async fn accepts(&self, sql: &str) {
        run(&self.session().await, sql).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    /// Runs what must be refused with `code`, in a session of its own, and says why it was.
    pub async fn refuses(&self, code: &str, sql: &str) -> Refused {
        let refused = run(&self.session().await, sql).await;
        let refused = refused.expect_err(&format!("not refused: {sql}"));
        assert_eq!(refused.code, code, "{sql}: {refused:?}");
        refused
    }

    pub async fn violations(&self) -> Vec<String> {
        invariants::violations(&self.client).await
    }

    /// Neither overbooked nor over quota, now; what by-hand statements leave without a history
    /// does not matter.
    pub async fn assert_not_overbooked(&self) {
        let mut violations = self.violations().await;
        violations.retain(|violation| ["I1 ", "I3 "].iter().any(|i| violation.starts_with(i)));
        assert!(violations.is_empty(), "{violations:#?}");
    }

    pub async fn finish(self) {
        drop(self.client);
        engines::drop_database(&self.name).await;
    }
}

/// Runs statements as a person would type them; returns how many rows the last one touched.
pub async fn run(client: &Client, sql: &str) -> Result<u64, Refused> {
    let messages = client.simple_query(sql).await.map_err(refused)?;
    let touched = messages.into_iter().rev().find_map(|message| match message {
        SimpleQueryMessage::CommandComplete(rows) => Some(rows),
        _ => None,
    });
    Ok(touched.unwrap_or(0))
}

/// PostgreSQL's side of an error.
pub fn refused(error: tokio_postgres::Error) -> Refused {
    let Some(error) = error.as_db_error() else { panic!("not PostgreSQL's error: {error}") };
    Refused {
        code: error.code().code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
    }
}

/// A fixed day of the far future, so that no statement depends on when it is run.
pub fn day() -> DateTime<Utc> {
    "2091-03-05T00:00:00Z".parse().expect("an instant")
}

/// A reservation as a row to type: a minute is the unit, from midnight of [`day`].
#[derive(Debug, Clone)]
pub struct Row {
    pub id: Uuid,
    pub user: &'static str,
    pub server: &'static str,
    pub start: f64,
    pub end: f64,
    pub gap: f64,
    pub state: &'static str,
}

impl Row {
    /// A hold of `ann` on `cam` for minutes `start` to `end`.
    pub fn held(start: f64, end: f64) -> Self {
        let (user, server, state) = ("ann", "cam", "held");
        Self { id: Uuid::now_v7(), user, server, start, end, gap: 0.0, state }
    }

    /// The row's values, in the order of [`COLUMNS`].
    pub fn values(&self) -> String {
        let Self { id, user, server, state, .. } = self;
        let [start, end, busy] = [self.start, self.end, self.end + self.gap].map(minute);
        let quoted = |word: Option<&str>| word.map_or("null".to_owned(), |w| format!("'{w}'"));
        let reason = quoted((*state == "cancelled").then_some("withdrawn"));
        let at = |set: bool| quoted(set.then_some("2026-01-01T00:00:00Z"));
        let settled = at(["confirmed", "cancelled"].contains(state));
        let reconfirmed = at(*state == "reconfirmed");
        format!(
            "('{id}', '{user}-t', '{id}', '{user}', '{server}', 0, '{start}', '{end}', '{busy}',
              '{start}', '{state}', {reason}, 0, 'EUR', 1, '2026-01-01Z', {reconfirmed}, {settled})"
        )
    }

    /// A statement that inserts it.
    pub fn insert(&self) -> String {
        insert(std::slice::from_ref(self))
    }
}

/// The columns of a [`Row`], all that the table has.
pub const COLUMNS: &str = "id, terminal_id, message_id, user_id, server_id, partition, start_at, \
    end_at, busy_until, deadline_at, state, cancel_reason, price_minor, currency, tariff_version, \
    held_at, reconfirmed_at, settled_at";

/// A minute of [`day`].
pub fn minute(minute: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a day has few milliseconds")]
    let millis = TimeDelta::milliseconds((minute * 60_000.0) as i64);
    (day() + millis).to_rfc3339()
}

/// One statement that inserts all of `rows`.
pub fn insert(rows: &[Row]) -> String {
    let values: Vec<String> = rows.iter().map(Row::values).collect();
    format!("insert into reservations ({COLUMNS}) values {}", values.join(", "))
}
