//! Rows of the model in the product's types.

use holdfast::domain::reservation::Reservation;
use holdfast::domain::server::{LateBooking, Server};
use holdfast::domain::tariff::Tariff;

use super::sums::SECOND;
use super::truth::{House, Row, instant, interval};

/// A server as the store gives it.
pub fn server(house: &House) -> Server {
    Server {
        id: house.id.clone(),
        capacity: house.capacity,
        open: house.open,
        tariff: Tariff {
            rate_minor: house.rate,
            currency: house.currency.to_owned(),
            version: house.version,
        },
        slot_seconds: house.slot / SECOND,
        min_seconds: house.min / SECOND,
        max_seconds: house.max / SECOND,
        gap_seconds: house.gap / SECOND,
        lead_seconds: house.lead / SECOND,
        reminder_seconds: 0,
        horizon_seconds: house.horizon / SECOND,
        late_booking: if house.confirms_late { LateBooking::Confirm } else { LateBooking::Reject },
        connection_url: house.url.clone(),
        view_url: None,
        partition: house.partition,
        closures: house.closures.iter().copied().map(interval).collect(),
    }
}

/// A reservation as the store gives it.
pub fn reservation(row: &Row) -> Reservation {
    Reservation {
        id: row.id,
        terminal: row.terminal.clone(),
        message_id: row.message_id.clone(),
        user: row.user.clone(),
        server: row.server.clone(),
        interval: interval((row.start, row.end)),
        busy_until: instant(row.busy_until),
        deadline_at: instant(row.deadline),
        remind_at: None,
        reminded_at: None,
        state: row.state.parse().expect("a state's word"),
        cancel_reason: row.reason.map(|word| word.parse().expect("a reason's word")),
        price_minor: row.price,
        currency: row.currency.clone(),
        tariff_version: row.version,
        held_at: instant(row.held_at),
        reconfirmed_at: row.reconfirmed_at.map(instant),
        settled_at: row.settled_at.map(instant),
        trace: None,
    }
}
