//! Reservations and their history.

use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::domain::id::{ServerId, UserId};
use crate::domain::interval::Timestamp;
use crate::domain::reservation::{Reservation, State};
use crate::store::error::StoreError;
use crate::store::rows::read_reservation;
use crate::store::sql;

/// `None` and an empty list match all.
#[derive(Debug, Default)]
pub struct Filter {
    pub user: Option<UserId>,
    pub server: Option<ServerId>,
    pub states: Vec<State>,
    /// Ending after this instant.
    pub from: Option<Timestamp>,
    /// Starting before this instant.
    pub to: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Page {
    /// By start, then by id.
    pub reservations: Vec<Reservation>,
    /// Whether another page follows.
    pub more: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct HistoryLine {
    /// By the database's clock.
    pub at: Timestamp,
    /// `None` for a new reservation.
    pub from_state: Option<String>,
    pub to_state: String,
    /// Why it was cancelled, or what is noted about a confirmed one.
    pub reason: Option<String>,
    /// `terminal`, `operator`, `deadline` or `end`.
    pub actor: String,
    /// The terminal or operator.
    pub actor_id: Option<String>,
    /// `command`, `message`, `sweep` or `operator`.
    pub trigger: String,
    /// The operator's reason, or how long it was used.
    pub note: Option<String>,
    pub message_id: Option<String>,
    /// From the deadline to the settlement.
    pub lateness_ms: Option<i64>,
    /// The command's trace, or that of the command which led to a settlement.
    pub traceparent: Option<String>,
    /// Place in the decision order.
    pub seq: i64,
}

/// With its deciding partition and its server's URLs.
pub struct ReservationDetails {
    pub reservation: Reservation,
    pub partition: i32,
    pub connection_url: String,
    pub view_url: Option<String>,
}

/// `None`: unknown id.
pub async fn load_reservation(
    client: &Client,
    id: Uuid,
) -> Result<Option<ReservationDetails>, StoreError> {
    let Some(row) = client.query_opt(sql!("load_reservation"), &[&id]).await? else {
        return Ok(None);
    };
    Ok(Some(ReservationDetails {
        reservation: read_reservation(&row)?,
        partition: row.get("partition"),
        connection_url: row.get("connection_url"),
        view_url: row.get("view_url"),
    }))
}

/// At most `limit` reservations that follow `after`. `None`: `after` is unknown.
pub async fn list_reservations(
    client: &Client,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Option<Page>, StoreError> {
    let mut start: Option<Timestamp> = None;
    if let Some(after) = after {
        let row = client.query_opt(sql!("load_start"), &[&after]).await?;
        let Some(row) = row else { return Ok(None) };
        start = row.get(0);
    }
    let states = match filter.states.as_slice() {
        [] => State::ALL,
        some => some,
    };
    let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let server = filter.server.as_ref().map(ServerId::as_str);
    let most = limit + 1;
    let rest: [&(dyn ToSql + Sync); 7] =
        [&server, &states, &filter.from, &filter.to, &start, &after, &most];
    let rows = match filter.user.as_ref().map(UserId::as_str) {
        Some(user) => {
            let all = [&[&user as &(dyn ToSql + Sync)][..], &rest].concat();
            client.query(sql!("list_reservations_of_user"), &all).await?
        }
        None => client.query(sql!("list_reservations"), &rest).await?,
    };
    let mut reservations = rows.iter().map(read_reservation).collect::<Result<Vec<_>, _>>()?;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let more = reservations.len() > wanted;
    reservations.truncate(wanted);
    Ok(Some(Page { reservations, more }))
}

/// With its history, oldest change first; `None`: unknown id.
pub async fn load_history(
    client: &Client,
    id: Uuid,
) -> Result<Option<(Reservation, Vec<HistoryLine>)>, StoreError> {
    let Some(details) = load_reservation(client, id).await? else { return Ok(None) };
    let rows = client.query(sql!("load_history"), &[&id]).await?;
    Ok(Some((details.reservation, rows.iter().map(read_line).collect())))
}

fn read_line(row: &Row) -> HistoryLine {
    HistoryLine {
        at: row.get("at"),
        from_state: row.get("from_state"),
        to_state: row.get("to_state"),
        reason: row.get("reason"),
        actor: row.get("actor"),
        actor_id: row.get("actor_id"),
        trigger: row.get("trigger"),
        note: row.get("note"),
        message_id: row.get("message_id"),
        lateness_ms: row.get("lateness_ms"),
        traceparent: row.get("traceparent"),
        seq: row.get("seq"),
    }
}
