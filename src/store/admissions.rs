//! What a gate reads and writes, with an account that may do nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Row};
use tracing::warn;
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{Driver, Settings};
use super::sql;
use crate::domain::admission::plan::{Entry, KeyHash};
use crate::domain::id::ServerId;
use crate::domain::interval::{Interval, Timestamp};

/// Notifies gates of a change; its payload is the server's id.
pub const CHANNEL: &str = "holdfast_access";

/// Bound on one exchange. A gate goes on with what it knows, and a connection that hangs keeps it from learning
/// what was cancelled.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);

async fn bounded<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(EXCHANGE_TIMEOUT, work).await.map_err(|_| StoreError::Timeout(what))?
}

/// A session of a publisher, as a gate saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Whose key it had.
    pub reservation: Uuid,
    /// The gate's name for it, unique with reservation and gate.
    pub session: String,
    /// When it was first seen.
    pub first_at: Timestamp,
    /// When it was last seen.
    pub last_at: Timestamp,
    /// Of that, whole seconds within the reservation's window.
    pub seconds: i32,
    /// How it ended, in a word.
    pub ended: Option<String>,
}

/// A time in which a gate watched its server without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Since when.
    pub from_at: Timestamp,
    /// Until when at least.
    pub until_at: Timestamp,
}

/// A connection that hears of changes. Dropped, it is closed.
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    changed: Arc<Notify>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects and subscribes.
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let (client, driver) = settings.connect().await?;
        let changed = Arc::new(Notify::new());
        let driver = tokio::spawn(drive(driver, changed.clone()));
        let connection = Self { client, driver, changed };
        connection.client.batch_execute(&format!("listen {CHANNEL}")).await?;
        Ok(connection)
    }

    /// Waits until something has changed, of any server.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

async fn drive(mut driver: Driver, changed: Arc<Notify>) {
    let mut messages = futures::stream::poll_fn(|context| driver.poll_message(context));
    while let Some(message) = messages.next().await {
        match message {
            Ok(AsyncMessage::Notification(_)) => changed.notify_one(),
            Ok(_) => {}
            Err(error) => {
                let error = StoreError::from(error);
                return warn!(%error, "a connection to the database broke");
            }
        }
    }
}

/// The database's time.
pub async fn clock(connection: &Connection) -> Result<Timestamp, StoreError> {
    bounded("reading the database's clock", async {
        Ok(connection.client.query_one(sql!("load_gate_clock"), &[]).await?.get("now"))
    })
    .await
}

/// Everything that a gate of this server lets in.
pub async fn load(connection: &Connection, server: &ServerId) -> Result<Vec<Entry>, StoreError> {
    bounded("loading admissions", async {
        let rows = connection.client.query(sql!("load_admissions"), &[&server.as_str()]).await?;
        rows.iter().map(entry).collect()
    })
    .await
}

/// What has changed of it within the last minute.
pub async fn load_changed(
    connection: &Connection,
    server: &ServerId,
) -> Result<Vec<Entry>, StoreError> {
    bounded("loading changed admissions", async {
        let statement = sql!("load_changed_admissions");
        let rows = connection.client.query(statement, &[&server.as_str()]).await?;
        rows.iter().map(entry).collect()
    })
    .await
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    let reservation: Uuid = row.get("reservation_id");
    let unexpected = |what: &str| StoreError::Unexpected(format!("{reservation}: {what}"));
    let window = Interval::new(row.get("start_at"), row.get("end_at"));
    let key: Vec<u8> = row.get("key_hash");
    let viewers_max = row.get::<_, Option<i32>>("viewers_max");
    Ok(Entry {
        reservation,
        window: window.ok_or_else(|| unexpected("no window"))?,
        cancelled: row.get::<_, &str>("state") != "confirmed",
        key: KeyHash(key.try_into().map_err(|_| unexpected("a key's hash has 32 bytes"))?),
        capacity: usize::try_from(row.get::<_, i32>("capacity")).unwrap_or_default(),
        viewers_max: viewers_max.map(|max| usize::try_from(max).unwrap_or_default()),
        early_seconds: row.get::<_, i32>("early_seconds").into(),
        gap_seconds: row.get::<_, i32>("gap_seconds").into(),
    })
}

/// Records sessions, or what is new about them.
pub async fn upsert_use(
    connection: &Connection,
    gate: &str,
    seen: &[Use],
) -> Result<(), StoreError> {
    let reservations: Vec<Uuid> = seen.iter().map(|one| one.reservation).collect();
    let sessions: Vec<&str> = seen.iter().map(|one| one.session.as_str()).collect();
    let first: Vec<Timestamp> = seen.iter().map(|one| one.first_at).collect();
    let last: Vec<Timestamp> = seen.iter().map(|one| one.last_at).collect();
    let seconds: Vec<i32> = seen.iter().map(|one| one.seconds).collect();
    let ended: Vec<Option<&str>> = seen.iter().map(|one| one.ended.as_deref()).collect();
    bounded("recording use", async {
        connection
            .client
            .execute(
                sql!("upsert_access_use"),
                &[&gate, &reservations, &sessions, &first, &last, &seconds, &ended],
            )
            .await?;
        Ok(())
    })
    .await
}

/// Records when the gate has watched its server.
pub async fn upsert_coverage(
    connection: &Connection,
    server: &ServerId,
    gate: &str,
    watched: &[Watch],
) -> Result<(), StoreError> {
    let from: Vec<Timestamp> = watched.iter().map(|watch| watch.from_at).collect();
    let until: Vec<Timestamp> = watched.iter().map(|watch| watch.until_at).collect();
    bounded("recording what was watched", async {
        let statement = sql!("upsert_gate_coverage");
        connection.client.execute(statement, &[&server.as_str(), &gate, &from, &until]).await?;
        Ok(())
    })
    .await
}

/// Whether only an operator can help: the schema lacks something, or the account lacks a right.
pub fn is_set_up_wrong(error: &StoreError) -> bool {
    let wrong =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN, SqlState::INSUFFICIENT_PRIVILEGE];
    error.sql_state().is_some_and(|state| wrong.contains(state))
}

/// Whether the database refuses what is recorded, for ever: a reservation or a server that it does not have.
pub fn is_unrecordable(error: &StoreError) -> bool {
    let states = [SqlState::FOREIGN_KEY_VIOLATION, SqlState::CHECK_VIOLATION];
    error.sql_state().is_some_and(|state| states.contains(state))
}
