//! Events that were decided, for publishing them once more: with the same ids and bytes.

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::domain::interval::Timestamp;
use crate::store::error::StoreError;
use crate::store::outbox::Pending;
use crate::store::sql;

/// Which events; empty lists match all.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Decided at this instant or later.
    pub from: Timestamp,
    /// Decided before.
    pub to: Timestamp,
    /// Types, such as `reservation.confirmed`.
    pub types: Vec<String>,
    /// Only charges and credits.
    pub bills: bool,
    /// Only of this reservation, or with one of these ids.
    pub of: Option<(Option<Uuid>, Vec<Uuid>)>,
}

/// A place in the order of events: by time, then by id.
pub type Position = (Timestamp, Uuid);

/// Before the first event of a selection: no event has the nil id.
pub fn before(selection: &Selection) -> Position {
    (selection.from, Uuid::nil())
}

/// An event's place; `None`: unknown id, or one that is no longer kept.
pub async fn load_position(client: &Client, event: Uuid) -> Result<Option<Position>, StoreError> {
    let row = client.query_opt(sql!("load_event_time"), &[&event]).await?;
    Ok(row.map(|row| (row.get(0), event)))
}

/// At most `limit` events that follow `after`, in order, each with its place.
pub async fn list_events(
    client: &Client,
    selection: &Selection,
    after: Position,
    limit: i64,
) -> Result<Vec<(Position, Pending)>, StoreError> {
    let Selection { to, types, bills, of, .. } = selection;
    let (instant, id) = after;
    let rows = match of {
        None => {
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&instant, &id, to, types, bills, &limit];
            client.query(sql!("list_events"), &params).await?
        }
        Some((reservation, ids)) => {
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
                [&instant, &id, to, types, bills, &limit, reservation, ids];
            client.query(sql!("list_events_of"), &params).await?
        }
    };
    let event = |row: &Row| ((row.get("created_at"), row.get("id")), Pending::of_event(row));
    Ok(rows.iter().map(event).collect())
}
