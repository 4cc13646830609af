//! Answers to terminals as text.

use super::output::{fields, table, time};
use crate::domain::interval::Timestamp;
use crate::domain::money::money;
use crate::message::answer::{FreePlaces, QuotaReceipt, ReservationView, ServerView};

pub(super) fn reservation(reservation: &ReservationView) -> Vec<(&'static str, String)> {
    let state = match &reservation.cancel_reason {
        Some(reason) => format!("{} ({reason})", reservation.state),
        None => reservation.state.clone(),
    };
    let price = &reservation.price;
    let mut lines = vec![
        ("reservation", reservation.id.to_string()),
        ("state", state),
        ("server", reservation.server.clone()),
        ("start", time(reservation.start_at)),
        ("end", time(reservation.end_at)),
        ("deadline", time(reservation.deadline_at)),
        ("price", money(price.amount_minor.into(), &price.currency)),
    ];
    let connection = reservation.connection.as_ref();
    let optional = [
        ("reconfirmed", reservation.reconfirmed_at.map(time)),
        ("settled", reservation.settled_at.map(time)),
        ("connection", connection.map(|connection| connection.url.clone())),
        ("key", connection.and_then(|it| it.key.as_ref()).map(|key| key.reveal().to_owned())),
        ("viewers", connection.and_then(|connection| connection.view_url.clone())),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    lines
}

pub(super) fn receipt(receipt: &QuotaReceipt) -> String {
    format!(
        "{} s of {} s used, {} s requested, from {} until {}",
        receipt.used_seconds,
        receipt.limit_seconds,
        receipt.requested_seconds,
        time(receipt.period_start),
        time(receipt.period_end)
    )
}

/// `next` is the next page's cursor.
pub(super) fn page(reservations: &[ReservationView], next: Option<uuid::Uuid>) -> String {
    let rows: Vec<Vec<String>> = reservations
        .iter()
        .map(|reservation| {
            vec![
                reservation.id.to_string(),
                reservation.server.clone(),
                reservation.state.clone(),
                time(reservation.start_at),
                time(reservation.end_at),
                time(reservation.deadline_at),
            ]
        })
        .collect();
    let mut text = table(&["RESERVATION", "SERVER", "STATE", "START", "END", "DEADLINE"], &rows);
    if let Some(next) = next {
        text.push_str(&format!("More: --after {next}\n"));
    }
    text
}

/// Free places until `end_at`.
pub(super) fn availability(server: &ServerView, end_at: Timestamp, free: &[FreePlaces]) -> String {
    let price = &server.price_per_hour;
    let open = if server.open { "yes" } else { "no, it takes no new reservations" };
    let head = fields(&[
        ("server", server.id.clone()),
        ("open", open.to_owned()),
        ("places", server.capacity.to_string()),
        ("price", format!("{} an hour", money(price.amount_minor.into(), &price.currency))),
        ("told until", time(end_at)),
    ]);
    let rows: Vec<Vec<String>> = free
        .iter()
        .map(|span| vec![time(span.start_at), time(span.end_at), span.places.to_string()])
        .collect();
    format!("{head}\n{}", table(&["FROM", "UNTIL", "FREE"], &rows))
}
