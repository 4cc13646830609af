//! Dead letters that operators have replayed, as workers see them.

use std::collections::HashMap;

use tokio_postgres::Row;
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{Pool, Session, bounded};
use super::sql;
use crate::domain::trace::Trace;
use crate::message::dead_letter::DeadLetter;

/// A letter's id, and the broker account that names it.
pub type Named = (Uuid, String);

/// Those of the named letters that an operator has had replayed as the account that names them. The broker
/// has validated the accounts.
pub async fn load_replayed(
    pool: &Pool,
    named: &[Named],
) -> Result<HashMap<Named, DeadLetter>, StoreError> {
    bounded("reading dead letters", async {
        let session = Session::take(pool).await?;
        let (ids, accounts): (Vec<Uuid>, Vec<&str>) =
            named.iter().map(|(id, account)| (*id, account.as_str())).unzip();
        let statement = session.client().prepare_cached(sql!("load_replayed")).await?;
        let rows = session.client().query(&statement, &[&ids, &accounts]).await?;
        session.finish();
        let letter = |row: &Row| {
            let letter = read(row);
            ((letter.id, row.get("replay_account")), letter)
        };
        Ok(rows.iter().map(letter).filter(|(_, letter)| letter.hopeless().is_none()).collect())
    })
    .await
}

pub(super) fn read(row: &Row) -> DeadLetter {
    DeadLetter {
        id: row.get("id"),
        reason: row.get("reason"),
        exact: row.get("exact"),
        partition: row.get("partition"),
        account: row.get("account"),
        routing_key: row.get("routing_key"),
        message_id: row.get("message_id"),
        kind: row.get("type"),
        content_type: row.get("content_type"),
        content_encoding: row.get("content_encoding"),
        forbidden: row.get("forbidden"),
        trace: Trace::read(row.get("traceparent"), row.get("tracestate")),
        died_at: row.get("died_at"),
        body: row.get("body"),
    }
}
