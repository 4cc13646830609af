//! From rows to domain types. The schema's CHECKs match the types.

use std::str::FromStr;

use tokio_postgres::Row;

use super::error::StoreError;
use crate::domain::access::Access;
use crate::domain::interval::Interval;
use crate::domain::reservation::Reservation;
use crate::domain::server::Server;
use crate::domain::tariff::Tariff;
use crate::domain::trace::Trace;

pub(super) fn id<T: FromStr>(row: &Row, column: &str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Unexpected(format!("{column} {text:?}")))
}

fn word<T: FromStr>(column: &str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Unexpected(format!("{column} {text:?}")))
}

pub(super) fn interval(row: &Row, start: &str, end: &str) -> Result<Interval, StoreError> {
    let (start, end) = (row.try_get(start)?, row.try_get(end)?);
    Interval::new(start, end)
        .ok_or_else(|| StoreError::Unexpected(format!("interval from {start} to {end}")))
}

/// Reads a row of `servers`, without closures.
pub(super) fn read_server(row: &Row) -> Result<Server, StoreError> {
    let seconds = |column| row.try_get::<_, i32>(column).map(i64::from);
    let capacity: i32 = row.try_get("capacity")?;
    Ok(Server {
        id: id(row, "id")?,
        capacity: usize::try_from(capacity)
            .map_err(|_| StoreError::Unexpected(format!("capacity {capacity}")))?,
        open: row.try_get("open")?,
        tariff: Tariff {
            rate_minor: row.try_get("rate_minor")?,
            currency: row.try_get("currency")?,
            version: row.try_get("tariff_version")?,
        },
        slot_seconds: seconds("slot_seconds")?,
        min_seconds: seconds("min_seconds")?,
        max_seconds: seconds("max_seconds")?,
        gap_seconds: seconds("gap_seconds")?,
        lead_seconds: seconds("lead_seconds")?,
        reminder_seconds: seconds("reminder_seconds")?,
        horizon_seconds: seconds("horizon_seconds")?,
        late_booking: word("late_booking", row.try_get("late_booking")?)?,
        connection_url: row.try_get("connection_url")?,
        view_url: row.try_get("view_url")?,
        partition: row.try_get("partition")?,
        closures: Vec::new(),
    })
}

pub(super) fn read_reservation(row: &Row) -> Result<Reservation, StoreError> {
    let reason: Option<&str> = row.try_get("cancel_reason")?;
    Ok(Reservation {
        id: row.try_get("id")?,
        terminal: id(row, "terminal_id")?,
        message_id: row.try_get("message_id")?,
        user: id(row, "user_id")?,
        server: id(row, "server_id")?,
        interval: interval(row, "start_at", "end_at")?,
        busy_until: row.try_get("busy_until")?,
        deadline_at: row.try_get("deadline_at")?,
        remind_at: row.try_get("remind_at")?,
        reminded_at: row.try_get("reminded_at")?,
        state: word("state", row.try_get("state")?)?,
        cancel_reason: reason.map(|reason| word("cancel_reason", reason)).transpose()?,
        price_minor: row.try_get("price_minor")?,
        currency: row.try_get("currency")?,
        tariff_version: row.try_get("tariff_version")?,
        held_at: row.try_get("held_at")?,
        reconfirmed_at: row.try_get("reconfirmed_at")?,
        settled_at: row.try_get("settled_at")?,
        trace: trace(row),
    })
}

/// From the columns `epoch` and `secret_id`; `None`: it has no key.
pub(super) fn read_access(row: &Row) -> Result<Option<Access>, StoreError> {
    let epoch: Option<i32> = row.try_get("epoch")?;
    let secret = row.try_get("secret_id")?;
    Ok(epoch.map(|epoch| Access { epoch, secret }))
}

/// From the columns `traceparent` and `tracestate`.
pub(super) fn trace(row: &Row) -> Option<Trace> {
    Trace::read(row.get("traceparent"), row.get("tracestate"))
}
