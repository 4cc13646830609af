//! Describes messages in words.

use holdfast::domain::interval::Timestamp;
use holdfast::message::answer::{Answer, Notice, Price, QuotaReceipt, ReservationView};
use uuid::Uuid;

/// A window of time, half-open.
pub type Window = (Timestamp, Timestamp);

/// Hours, minutes and seconds, in UTC.
pub fn time_of_day(at: Timestamp) -> String {
    at.format("%H:%M:%S").to_string()
}

pub fn window((start, end): Window) -> String {
    format!("{}-{}", time_of_day(start), time_of_day(end))
}

/// The end of an id, which is the part that differs.
pub fn short(id: Uuid) -> String {
    id.simple().to_string()[24..].to_owned()
}

/// An amount in minor units as money.
pub fn money(amount_minor: i64, currency: &str) -> String {
    holdfast::domain::money::money(amount_minor.into(), currency)
}

pub fn price(price: &Price) -> String {
    money(price.amount_minor, &price.currency)
}

pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Accepted { reservation, decided_at, .. } => accepted(reservation, *decided_at),
        Answer::Reconfirmed { reservation, .. } => {
            format!("reconfirmed {}", short(reservation.id))
        }
        Answer::Withdrawn { reservation, .. } => {
            format!("withdrawn {}, free of charge", short(reservation.id))
        }
        Answer::Shown { reservation, .. } => {
            format!("{} is {}", short(reservation.id), reservation.state)
        }
        Answer::Listed { reservations, .. } => format!("{} reservations", reservations.len()),
        Answer::Availability { server, .. } => format!("the free places of {}", server.id),
        Answer::Refused { code, reason, quota, .. } => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let receipts: String = quota.iter().map(receipt).collect();
            format!("refused: {code}{reason}{receipts}")
        }
    }
}

fn accepted(reservation: &ReservationView, decided_at: Timestamp) -> String {
    let left = (reservation.deadline_at - decided_at).as_seconds_f64();
    let (id, price) = (short(reservation.id), price(&reservation.price));
    format!("accepted {id}, {price}, deadline in {left:.1} s")
}

fn receipt(receipt: &QuotaReceipt) -> String {
    let QuotaReceipt { used_seconds, limit_seconds, requested_seconds, .. } = receipt;
    let until = receipt.period_end.format("%Y-%m-%d %H:%M");
    format!(
        ", {used_seconds} s of {limit_seconds} s used, {requested_seconds} s requested, \
         new period {until}"
    )
}

pub fn notice(notice: &Notice) -> String {
    let id = short(notice.reservation().id);
    match notice {
        Notice::Reminder { reservation } => {
            format!("notice: reconfirm {id} by {}", reservation.deadline_at)
        }
        Notice::Confirmed { reservation, charge, .. } => {
            let url = reservation.connection.as_ref().map_or("nowhere", |there| there.url.as_str());
            format!("notice: {id} confirmed, connect to {url}, charge {}", short(*charge))
        }
        Notice::Cancelled { reservation, .. } => {
            let reason = reservation.cancel_reason.as_deref().unwrap_or("no reason");
            format!("notice: {id} cancelled, {reason}")
        }
    }
}

/// Aligned columns under a header.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("  {}", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
