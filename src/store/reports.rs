//! What people ask about reservations.

use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::rows::read_reservation;
use crate::domain::interval::Timestamp;
use crate::domain::reservation::Reservation;

/// One line of a reservation's history.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryLine {
    /// When, by the database's clock.
    pub at: Timestamp,
    /// The state before; `None` for a new reservation.
    pub from_state: Option<String>,
    /// The state after.
    pub to_state: String,
    /// Why it was cancelled.
    pub reason: Option<String>,
    /// `terminal`, `operator` or `deadline`.
    pub actor: String,
    /// The terminal or operator.
    pub actor_id: Option<String>,
    /// `command`, `message`, `sweep` or `operator`.
    pub trigger: String,
    /// Why, in an operator's words.
    pub note: Option<String>,
    /// Message id of the command.
    pub message_id: Option<String>,
    /// Milliseconds from the deadline to the settlement.
    pub lateness_ms: Option<i64>,
    /// Place in the decision order.
    pub seq: i64,
}

/// A reservation and its history, oldest first; `None` if there is no such reservation.
pub async fn load_history(
    client: &Client,
    id: Uuid,
) -> Result<Option<(Reservation, Vec<HistoryLine>)>, StoreError> {
    let Some(row) = client.query_opt("select * from reservations where id = $1", &[&id]).await?
    else {
        return Ok(None);
    };
    let reservation = read_reservation(&row)?;
    let rows = client
        .query(
            "select * from history where reservation_id = $1
             order by seq, from_state is not null, to_state = 'cancelled'",
            &[&id],
        )
        .await?;
    let lines = rows
        .iter()
        .map(|row| HistoryLine {
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
            seq: row.get("seq"),
        })
        .collect();
    Ok(Some((reservation, lines)))
}
