//! From what a batch changed to what is told: events to the world, notices to terminals.

use crate::domain::reservation::{Reservation, State};
use crate::domain::snapshot::{Cause, Changes, Snapshot, Transition};
use crate::message::answer::{Notice, ReservationView};
use crate::message::event;

use super::outbox::OutboxMessage as Announcement;

/// Reminders, one event per settled or cancelled reservation and per credit, and one notice to its
/// terminal unless that terminal itself has just been told by an answer.
pub fn announcements(world: &Snapshot, effects: &Changes) -> Vec<Announcement> {
    let mut announcements: Vec<Announcement> = Vec::new();
    for id in &effects.reminders {
        let reservation = &world.reservations[id];
        let reminder = Notice::Reminder { reservation: view(world, reservation) };
        announcements.push(announced_notice(reservation, &reminder));
    }
    for transition in &effects.transitions {
        let reservation = &world.reservations[&transition.reservation];
        match transition.to {
            State::Confirmed => announcements.push(confirmed_event(world, reservation)),
            State::Cancelled => {
                announcements.push(cancelled_event(world, reservation));
                announcements.extend(credited_event(world, reservation, transition));
            }
            State::Held | State::Reconfirmed => continue,
        }
        if !told_by_answer(transition, reservation) {
            announcements.push(notice(world, reservation, transition));
        }
    }
    announcements
}

fn told_by_answer(transition: &Transition, reservation: &Reservation) -> bool {
    matches!(&transition.cause, Cause::Terminal { terminal, .. } if *terminal == reservation.terminal)
}

fn confirmed_event(world: &Snapshot, reservation: &Reservation) -> Announcement {
    let event = event::confirmed(reservation, world.now);
    announced_event(event.id, event::CONFIRMED, reservation, true, &event)
}

fn cancelled_event(world: &Snapshot, reservation: &Reservation) -> Announcement {
    let event = event::cancelled(reservation, world.now);
    announced_event(event.id, event::CANCELLED, reservation, false, &event)
}

/// What was billed is taken back.
fn credited_event(
    world: &Snapshot,
    reservation: &Reservation,
    transition: &Transition,
) -> Option<Announcement> {
    if !transition.is_credit() {
        return None;
    }
    let event = event::credited(reservation, transition.note().unwrap_or_default(), world.now);
    Some(announced_event(event.id, event::CREDITED, reservation, true, &event))
}

fn announced_event(
    id: uuid::Uuid,
    type_name: &'static str,
    reservation: &Reservation,
    must_route: bool,
    event: &impl serde::Serialize,
) -> Announcement {
    Announcement {
        id,
        kind: "event",
        type_name,
        routing_key: format!("{type_name}.{}", reservation.server),
        must_route,
        body: serde_json::to_string(event).expect("an event always serializes"),
    }
}

fn view(world: &Snapshot, reservation: &Reservation) -> ReservationView {
    let server = world.servers.get(&reservation.server);
    ReservationView::new(reservation, server.map(|server| server.connection_url.as_str()))
}

fn notice(world: &Snapshot, reservation: &Reservation, transition: &Transition) -> Announcement {
    let view = view(world, reservation);
    let notice = match transition.to {
        State::Confirmed => {
            Notice::Confirmed { reservation: view, charge: event::charge_id(reservation.id) }
        }
        _ => Notice::Cancelled {
            reservation: view,
            note: transition.note().map(str::to_owned),
            credit: transition.is_credit().then(|| event::credit_id(reservation.id)),
        },
    };
    announced_notice(reservation, &notice)
}

fn announced_notice(reservation: &Reservation, notice: &Notice) -> Announcement {
    Announcement {
        id: notice.id(),
        kind: "notice",
        type_name: notice.type_name(),
        routing_key: reservation.terminal.to_string(),
        must_route: false,
        body: notice.to_json(),
    }
}
