//! Events and notices on their way to the broker.
//!
//! A batch writes its messages with its decisions, and its worker publishes them. If it crashes or fails
//! to, the relay does. Copies of events, for subscribers other than the biller, are published by a relay
//! of their own, from the start.

use crate::store::pool::Pool;
use tokio_postgres::Row;
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::rows::trace;
use super::sql;
use crate::domain::trace::Trace;

/// Notifies workers of messages that no worker wrote, such as the command line's.
pub const CHANNEL: &str = "holdfast_outbox";

/// How long the relay leaves messages to their worker.
pub const GRACE_SECONDS: f64 = 10.0;

/// No message is postponed for this long. One that seems to be was postponed before the database's clock
/// was set back.
const POSTPONED_MAX_SECONDS: f64 = 300.0;
/// How long a relay has for copies that it claimed; then another one tries. Longer than a publication may
/// take.
const COPIES_LEASE_SECONDS: f64 = 15.0;

/// Most messages that one relay claims.
pub const RELAY_BATCH_MAX: i64 = 500;

/// An event for subscribers, or a notice for a terminal.
pub struct OutboxMessage {
    pub id: Uuid,
    /// `event` or `notice`.
    pub kind: &'static str,
    /// AMQP `type`.
    pub type_name: &'static str,
    pub routing_key: String,
    /// Whether it is a bill, which is retried until the billing queue has it.
    pub must_route: bool,
    pub body: String,
    /// Stored, so that each sending has the same headers.
    pub trace: Option<Trace>,
}

/// A stored message to publish.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Place in the outbox.
    pub seq: i64,
    pub id: Uuid,
    /// Otherwise a notice.
    pub is_event: bool,
    pub type_name: String,
    pub routing_key: String,
    pub body: String,
    pub trace: Option<Trace>,
}

impl Pending {
    pub(super) fn new(seq: i64, message: OutboxMessage) -> Self {
        Self {
            seq,
            id: message.id,
            is_event: message.kind == "event",
            type_name: message.type_name.to_owned(),
            routing_key: message.routing_key,
            body: message.body,
            trace: message.trace,
        }
    }

    /// A stored event that is to be published once more.
    pub(super) fn of_event(row: &Row) -> Self {
        Self {
            seq: 0,
            id: row.get("id"),
            is_event: true,
            type_name: row.get("type"),
            routing_key: row.get("routing_key"),
            trace: trace(row),
            body: row.get("body"),
        }
    }

    fn read(row: &Row) -> Self {
        Self {
            seq: row.get("seq"),
            id: row.get("id"),
            is_event: row.get::<_, &str>("kind") == "event",
            type_name: row.get("type"),
            routing_key: row.get("routing_key"),
            body: row.get("body"),
            trace: trace(row),
        }
    }
}

pub async fn notify(pool: &Pool) -> Result<(), StoreError> {
    bounded("notifying the workers", async {
        let session = Session::take(pool).await?;
        session.client().batch_execute(&format!("notify {CHANNEL}")).await?;
        session.finish();
        Ok(())
    })
    .await
}

pub async fn delete(pool: &Pool, seqs: &[i64]) -> Result<(), StoreError> {
    bounded("emptying the outbox", async {
        let session = Session::take(pool).await?;
        delete_outbox(&session, seqs).await?;
        session.finish();
        Ok(())
    })
    .await
}

async fn delete_outbox(session: &Session, seqs: &[i64]) -> Result<(), StoreError> {
    let statement = session.client().prepare_cached(sql!("delete_outbox")).await?;
    session.client().execute(&statement, &[&seqs]).await?;
    Ok(())
}

/// Makes messages due that were postponed before the database's clock was set back.
pub async fn recover(pool: &Pool) -> Result<(), StoreError> {
    bounded("looking for messages of the future", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("update_retry_at")).await?;
        session.client().execute(&statement, &[&POSTPONED_MAX_SECONDS]).await?;
        session.finish();
        Ok(())
    })
    .await
}

/// Locked messages. Other relays skip them until this is finished or dropped.
pub struct Claim {
    session: Session,
    pub pending: Vec<Pending>,
}

/// `None` if there is nothing to publish now.
pub async fn claim(pool: &Pool) -> Result<Option<Claim>, StoreError> {
    bounded("claiming messages of the outbox", claim_unbounded(pool)).await
}

async fn claim_unbounded(pool: &Pool) -> Result<Option<Claim>, StoreError> {
    let session = Session::take(pool).await?;
    let client = session.client();
    client.batch_execute("begin").await?;
    let statement = client.prepare_cached(sql!("claim_outbox")).await?;
    let rows = client.query(&statement, &[&RELAY_BATCH_MAX]).await?;
    if rows.is_empty() {
        client.batch_execute("commit").await?;
        session.finish();
        return Ok(None);
    }
    let pending = rows.iter().map(Pending::read).collect();
    Ok(Some(Claim { session, pending }))
}

impl Claim {
    /// Deletes `done` and postpones `retry`.
    pub async fn finish(self, done: &[i64], retry: &[i64]) -> Result<(), StoreError> {
        bounded("finishing messages of the outbox", self.finish_unbounded(done, retry)).await
    }

    async fn finish_unbounded(self, done: &[i64], retry: &[i64]) -> Result<(), StoreError> {
        let client = self.session.client();
        delete_outbox(&self.session, done).await?;
        if !retry.is_empty() {
            let postpone = client.prepare_cached(sql!("postpone_outbox")).await?;
            client.execute(&postpone, &[&retry]).await?;
        }
        client.batch_execute("commit").await?;
        self.session.finish();
        Ok(())
    }
}

/// A copy of an event that a relay is to publish.
pub struct Copy {
    pub message: Pending,
    /// Tries, with this one.
    pub tries: i32,
}

/// Copies of events to publish now, oldest first; empty if there are none. The try is counted.
pub async fn claim_copies(pool: &Pool) -> Result<Vec<Copy>, StoreError> {
    bounded("claiming copies of events", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("claim_copies")).await?;
        let rows =
            session.client().query(&statement, &[&RELAY_BATCH_MAX, &COPIES_LEASE_SECONDS]).await?;
        session.finish();
        let copy = |row: &Row| Copy { message: Pending::read(row), tries: row.get("attempts") };
        let mut copies: Vec<Copy> = rows.iter().map(copy).collect();
        copies.sort_by_key(|copy| copy.message.seq);
        Ok(copies)
    })
    .await
}

pub async fn postpone_copies(pool: &Pool, seqs: &[i64]) -> Result<(), StoreError> {
    bounded("postponing copies of events", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("postpone_copies")).await?;
        session.client().execute(&statement, &[&seqs]).await?;
        session.finish();
        Ok(())
    })
    .await
}
