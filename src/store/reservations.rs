//! Reservations for people who look things up.

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::rows::read_reservation;
use crate::domain::id::{ServerId, UserId};
use crate::domain::interval::Timestamp;
use crate::domain::reservation::{Reservation, State};

/// Which reservations to list; `None` and an empty list mean any.
#[derive(Debug, Default)]
pub struct Filter {
    /// Whose.
    pub user: Option<UserId>,
    /// Of which server.
    pub server: Option<ServerId>,
    /// In one of these states.
    pub states: Vec<State>,
    /// Ending after this instant.
    pub from: Option<Timestamp>,
    /// Starting before this instant.
    pub to: Option<Timestamp>,
}

/// A page of reservations.
#[derive(Debug)]
pub struct Page {
    /// By start, then by id.
    pub reservations: Vec<Reservation>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A reservation, the partition that it came through, and its server's connection URL; `None` if
/// there is no such reservation.
pub async fn load_reservation(
    client: &Client,
    id: Uuid,
) -> Result<Option<(Reservation, i32, String)>, StoreError> {
    let statement = "select r.*, s.connection_url
                     from reservations r join servers s on s.id = r.server_id where r.id = $1";
    let Some(row) = client.query_opt(statement, &[&id]).await? else { return Ok(None) };
    Ok(Some((read_reservation(&row)?, row.get("partition"), row.get("connection_url"))))
}

/// At most `limit` reservations, from behind the reservation `after` on. `None` if there is no
/// reservation of that id.
pub async fn load_page(
    client: &Client,
    filter: &Filter,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Option<Page>, StoreError> {
    let mut start: Option<Timestamp> = None;
    if let Some(after) = after {
        let statement = "select start_at from reservations where id = $1";
        let Some(row) = client.query_opt(statement, &[&after]).await? else { return Ok(None) };
        start = row.get(0);
    }
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let rows = client
        .query(
            "select * from reservations
             where ($1::text is null or user_id = $1) and ($2::text is null or server_id = $2)
                 and (cardinality($3::text[]) = 0 or state = any ($3))
                 and ($4::timestamptz is null or end_at > $4)
                 and ($5::timestamptz is null or start_at < $5)
                 and ($6::timestamptz is null or (start_at, id) > ($6, $7::uuid))
             order by start_at, id limit $8",
            &[
                &filter.user.as_ref().map(UserId::as_str),
                &filter.server.as_ref().map(ServerId::as_str),
                &states,
                &filter.from,
                &filter.to,
                &start,
                &after,
                &(limit + 1),
            ],
        )
        .await?;
    let mut reservations = rows.iter().map(read_reservation).collect::<Result<Vec<_>, _>>()?;
    let wanted = usize::try_from(limit).unwrap_or_default();
    let more = reservations.len() > wanted;
    reservations.truncate(wanted);
    Ok(Some(Page { reservations, more }))
}
