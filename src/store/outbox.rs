//! Announcements on their way out.

use deadpool_postgres::Pool;
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{Session, bounded};
use super::sql;

/// For how long the relay leaves announcements to the worker that wrote them and has them at hand.
pub const GRACE_SECONDS: f64 = 10.0;

/// Most announcements that one relay holds at a time.
pub const RELAY_BATCH_MAX: i64 = 500;

/// An event or a notice to write.
pub struct OutboxMessage {
    /// Message id.
    pub id: Uuid,
    /// `event` or `notice`.
    pub kind: &'static str,
    /// AMQP `type`.
    pub type_name: &'static str,
    /// Routing key.
    pub routing_key: String,
    /// Whether it is retried when no queue takes it.
    pub must_route: bool,
    /// Body.
    pub body: String,
}

/// An event or a notice that waits to be published.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Place in the outbox.
    pub seq: i64,
    /// Message id.
    pub id: Uuid,
    /// Whether it goes to the world; otherwise to a terminal.
    pub is_event: bool,
    /// AMQP `type`.
    pub type_name: String,
    /// Routing key.
    pub routing_key: String,
    /// Whether it is retried when no queue takes it.
    pub must_route: bool,
    /// Body, as it was when it happened.
    pub body: String,
}

impl Pending {
    /// What has just been written, at its place in the outbox.
    pub(super) fn new(seq: i64, message: OutboxMessage) -> Self {
        Self {
            seq,
            id: message.id,
            is_event: message.kind == "event",
            type_name: message.type_name.to_owned(),
            routing_key: message.routing_key,
            must_route: message.must_route,
            body: message.body,
        }
    }
}

/// The channel on which workers learn that an operator has written outbox messages.
pub const CHANNEL: &str = "holdfast_outbox";

/// Notifies the workers that there are outbox messages which none of them has written.
pub async fn notify(pool: &Pool) -> Result<(), StoreError> {
    bounded("notifying the workers", async {
        let session = Session::take(pool).await?;
        session.client().batch_execute(&format!("notify {CHANNEL}")).await?;
        session.finish();
        Ok(())
    })
    .await
}

/// Deletes from the outbox what is published.
pub async fn delete(pool: &Pool, seqs: &[i64]) -> Result<(), StoreError> {
    bounded("emptying the outbox", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("delete_outbox")).await?;
        session.client().execute(&statement, &[&seqs]).await?;
        session.finish();
        Ok(())
    })
    .await
}

/// Claimed announcements; other relays skip them until this is finished or dropped.
pub struct Claim {
    session: Session,
    /// What to publish.
    pub pending: Vec<Pending>,
}

/// Claims what is ready; `None` when nothing is.
pub async fn claim(pool: &Pool) -> Result<Option<Claim>, StoreError> {
    bounded("claiming announcements", claim_unbounded(pool)).await
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
    let pending = rows
        .iter()
        .map(|row| Pending {
            seq: row.get("seq"),
            id: row.get("id"),
            is_event: row.get::<_, &str>("kind") == "event",
            type_name: row.get("type"),
            routing_key: row.get("routing_key"),
            must_route: row.get("must_route"),
            body: row.get("body"),
        })
        .collect();
    Ok(Some(Claim { session, pending }))
}

impl Claim {
    /// Deletes what is done and postpones what is to be retried.
    pub async fn finish(self, done: &[i64], retry: &[i64]) -> Result<(), StoreError> {
        bounded("finishing announcements", self.finish_unbounded(done, retry)).await
    }

    async fn finish_unbounded(self, done: &[i64], retry: &[i64]) -> Result<(), StoreError> {
        let client = self.session.client();
        let delete = client.prepare_cached(sql!("delete_outbox")).await?;
        client.execute(&delete, &[&done]).await?;
        if !retry.is_empty() {
            let postpone = client.prepare_cached(sql!("postpone_outbox")).await?;
            client.execute(&postpone, &[&retry]).await?;
        }
        client.batch_execute("commit").await?;
        self.session.finish();
        Ok(())
    }
}
