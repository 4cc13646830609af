//! Dead letters as operators look after them. They are filed from the broker's queue into a table, where
//! looking at them neither reorders nor loses any.

use futures::future::try_join_all;
use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row, Transaction};
use uuid::Uuid;

use crate::domain::interval::Timestamp;
use crate::message::dead_letter::DeadLetter;
use crate::store::error::StoreError;
use crate::store::letters::read;
use crate::store::sql;

/// Most causes that are listed: more than anybody reads.
pub const CAUSES_MAX: i64 = 1_000;

/// `None` and an empty list match all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub ids: Vec<Uuid>,
    pub reasons: Vec<String>,
    /// The sender's account.
    pub account: Option<String>,
    /// Died at this instant or later.
    pub from: Option<Timestamp>,
    /// Died before this instant.
    pub to: Option<Timestamp>,
    /// `open`, `replaying`, `replayed` and `discarded`.
    pub states: Vec<&'static str>,
}

/// A letter, and what became of it.
#[derive(Debug, Clone)]
pub struct Filed {
    pub letter: DeadLetter,
    /// Whether its sender is a registered terminal.
    pub is_terminals: bool,
    pub died_at: Timestamp,
    /// How often it was filed: it died again, or was taken from its queue twice.
    pub times: i32,
    pub state: String,
    /// Replays so far.
    pub attempts: i32,
    pub closed_at: Option<Timestamp>,
}

/// Letters with one cause.
#[derive(Debug, Serialize)]
pub struct Cause {
    pub reason: String,
    /// The sender's account.
    pub terminal: Option<String>,
    /// The second word of the routing key.
    pub command: String,
    pub letters: i64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

/// A place in the order of letters: by time, then by id.
pub type Position = (Timestamp, Uuid);

/// Files letters. Text with NUL, which PostgreSQL cannot store, is kept without it.
pub async fn insert_letters(
    transaction: &Transaction<'_>,
    letters: &[DeadLetter],
) -> Result<(), StoreError> {
    let statement = transaction.prepare(sql!("insert_dead_letter")).await?;
    let insert = |letter: &DeadLetter| {
        let (letter, statement) = (storable(letter), &statement);
        async move {
            let DeadLetter { id, reason, exact, partition, account, routing_key, .. } = &letter;
            let DeadLetter { message_id, kind, content_type, content_encoding, .. } = &letter;
            let DeadLetter { forbidden, trace, died_at, body, .. } = &letter;
            let parent = trace.as_ref().map(|trace| trace.parent().to_string());
            let state = trace.as_ref().and_then(|trace| trace.state());
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 15] = [
                id,
                reason,
                exact,
                partition,
                account,
                routing_key,
                message_id,
                kind,
                content_type,
                content_encoding,
                forbidden,
                &parent,
                &state,
                died_at,
                body,
            ];
            transaction.execute(statement, &params).await
        }
    };
    // One after the other on the wire, without waiting for each answer.
    try_join_all(letters.iter().map(insert)).await?;
    Ok(())
}

fn storable(letter: &DeadLetter) -> DeadLetter {
    let mut letter = letter.clone();
    let mut exact = letter.exact;
    let mut clean = |text: &mut String| {
        if text.contains('\0') {
            *text = text.replace('\0', "\u{fffd}");
            exact = false;
        }
    };
    clean(&mut letter.reason);
    clean(&mut letter.routing_key);
    let optional = [
        &mut letter.account,
        &mut letter.message_id,
        &mut letter.kind,
        &mut letter.content_type,
        &mut letter.content_encoding,
        &mut letter.forbidden,
    ];
    optional.into_iter().flatten().for_each(clean);
    letter.exact = exact;
    letter
}

/// At most `limit` letters that follow `after`, the oldest first, and whether more do.
pub async fn list_letters(
    client: &Client,
    filter: &Filter,
    after: Option<Position>,
    limit: i64,
) -> Result<(Vec<Filed>, bool), StoreError> {
    let Filter { ids, reasons, account, from, to, states } = filter;
    let (at, id) = after.unzip();
    let rows = client
        .query(
            sql!("list_dead_letters"),
            &[ids, reasons, account, from, to, states, &at, &id, &(limit + 1)],
        )
        .await?;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > wanted;
    Ok((rows.iter().take(wanted).map(read_filed).collect(), more))
}

fn read_filed(row: &Row) -> Filed {
    Filed {
        letter: read(row),
        is_terminals: row.get("known"),
        died_at: row.get("died_at"),
        times: row.get("times"),
        state: row.get("state"),
        attempts: row.get("attempts"),
        closed_at: row.get("closed_at"),
    }
}

/// The [`CAUSES_MAX`] most frequent causes.
pub async fn list_causes(client: &Client, filter: &Filter) -> Result<Vec<Cause>, StoreError> {
    let Filter { ids, reasons, account, from, to, states } = filter;
    let rows = client
        .query(sql!("list_causes"), &[ids, reasons, account, from, to, states, &CAUSES_MAX])
        .await?;
    let cause = |row: &Row| Cause {
        reason: row.get("reason"),
        terminal: row.get("account"),
        command: row.get("command"),
        letters: row.get("letters"),
        first_at: row.get("first_at"),
        last_at: row.get("last_at"),
    };
    Ok(rows.iter().map(cause).collect())
}

/// A letter's place; `None`: unknown id.
pub async fn load_position(client: &Client, letter: Uuid) -> Result<Option<Position>, StoreError> {
    let row = client.query_opt(sql!("load_dead_letter_time"), &[&letter]).await?;
    Ok(row.map(|row| (row.get(0), letter)))
}

/// Letters that nobody has looked after.
pub async fn count_open(client: &impl GenericClient) -> Result<i64, StoreError> {
    Ok(client.query_one(sql!("count_dead_letters"), &[]).await?.get(0))
}

/// Records, with who and why, that workers may decide these letters once more when this broker account asks
/// for it. Returns those that were not looked after meanwhile.
pub async fn update_replaying(
    client: &Client,
    letters: &[Uuid],
    account: &str,
) -> Result<Vec<DeadLetter>, StoreError> {
    let rows = client.query(sql!("update_replaying"), &[&letters, &account]).await?;
    Ok(rows.iter().map(read).collect())
}

/// Notes that queues have taken their messages.
pub async fn update_replayed(client: &Client, letters: &[Uuid]) -> Result<(), StoreError> {
    client.execute(sql!("update_replayed"), &[&letters]).await?;
    Ok(())
}

/// Notes that no queue has.
pub async fn update_reopened(client: &Client, letters: &[Uuid]) -> Result<(), StoreError> {
    client.execute(sql!("update_reopened"), &[&letters]).await?;
    Ok(())
}

/// Records, with who and why, that nothing is to come of these letters. Returns how many were not looked
/// after meanwhile.
pub async fn update_discarded(client: &Client, letters: &[Uuid]) -> Result<u64, StoreError> {
    Ok(client.execute(sql!("update_discarded"), &[&letters]).await?)
}

/// Since when all answers are kept: what was decided before may be forgotten.
pub async fn load_oldest_answer(client: &Client) -> Result<Timestamp, StoreError> {
    Ok(client.query_one(sql!("load_oldest_answer"), &[]).await?.get(0))
}
