//! Outbox messages of a batch: events to subscribers, notices to terminals. Each belongs to its reservation's
//! trace, also if it is made days after the command that brought it.

use crate::domain::outcome::{Cause, Changes, Transition};
use crate::domain::reservation::{Reservation, State};
use crate::domain::snapshot::Snapshot;
use crate::domain::usage::Usage;
use crate::message::answer::{Notice, ReservationView, Urls};
use crate::message::event;
use crate::store::outbox::OutboxMessage;

/// Makes reminders; an event per confirmation, cancellation and credit, and of what became of the time; a notice per confirmation and
/// cancellation, unless its terminal caused it and gets an answer. With access keys (`keyed`) every
/// confirmation has a notice: an answer is stored, and cannot bring the key.
pub(super) fn outbox_messages(
    snapshot: &Snapshot,
    changes: &Changes,
    keyed: bool,
) -> Vec<OutboxMessage> {
    let mut messages: Vec<OutboxMessage> = Vec::new();
    for id in &changes.reminders {
        let reservation = &snapshot.reservations[id];
        let reminder = Notice::Reminder { reservation: view(snapshot, reservation) };
        messages.push(notice_message(reservation, &reminder));
    }
    for transition in &changes.transitions {
        let reservation = &snapshot.reservations[&transition.reservation];
        match &transition.cause {
            Cause::Rotation { id, .. } => {
                let notice = Notice::confirmed(view(snapshot, reservation));
                let id = notice.id_after(*id);
                messages.push(OutboxMessage { id, ..notice_message(reservation, &notice) });
                continue;
            }
            Cause::End { usage } => {
                messages.extend(usage_event(snapshot, reservation, *usage));
                continue;
            }
            Cause::Terminal { .. } | Cause::Deadline { .. } | Cause::Operator { .. } => {}
        }
        match transition.to {
            State::Confirmed => messages.push(confirmed_event(snapshot, reservation)),
            State::Cancelled => {
                messages.push(cancelled_event(snapshot, reservation));
                messages.extend(credited_event(snapshot, reservation, transition));
            }
            State::Held | State::Reconfirmed => continue,
        }
        let brings_key = keyed && transition.to == State::Confirmed;
        if brings_key || !told_by_answer(transition, reservation) {
            messages.push(notice(snapshot, reservation, transition));
        }
    }
    messages
}

fn told_by_answer(transition: &Transition, reservation: &Reservation) -> bool {
    matches!(&transition.cause, Cause::Terminal { terminal, .. } if *terminal == reservation.terminal)
}

fn confirmed_event(snapshot: &Snapshot, reservation: &Reservation) -> OutboxMessage {
    let event = event::confirmed(reservation, snapshot.now);
    event_message(event.id, event::CONFIRMED, reservation, true, &event)
}

fn cancelled_event(snapshot: &Snapshot, reservation: &Reservation) -> OutboxMessage {
    let event = event::cancelled(reservation, snapshot.now);
    event_message(event.id, event::CANCELLED, reservation, false, &event)
}

fn credited_event(
    snapshot: &Snapshot,
    reservation: &Reservation,
    transition: &Transition,
) -> Option<OutboxMessage> {
    if !transition.is_credit() {
        return None;
    }
    let event = event::credited(reservation, transition.note().unwrap_or_default(), snapshot.now);
    Some(event_message(event.id, event::CREDITED, reservation, true, &event))
}

fn usage_event(
    snapshot: &Snapshot,
    reservation: &Reservation,
    usage: Usage,
) -> Option<OutboxMessage> {
    let at = snapshot.now;
    match usage {
        Usage::Used(used) => {
            let event = event::used(reservation, used, at);
            Some(event_message(event.id, event::USED, reservation, false, &event))
        }
        Usage::NoShow => {
            let event = event::no_show(reservation, at);
            Some(event_message(event.id, event::NO_SHOW, reservation, false, &event))
        }
        Usage::Unobserved => None,
    }
}

fn event_message(
    id: uuid::Uuid,
    type_name: &'static str,
    reservation: &Reservation,
    must_route: bool,
    event: &impl serde::Serialize,
) -> OutboxMessage {
    OutboxMessage {
        id,
        kind: "event",
        type_name,
        routing_key: format!("{type_name}.{}", reservation.server),
        must_route,
        body: serde_json::to_string(event).expect("an event always serializes"),
        trace: reservation.trace.clone(),
    }
}

fn view(snapshot: &Snapshot, reservation: &Reservation) -> ReservationView {
    ReservationView::new(reservation, snapshot.servers.get(&reservation.server).map(Urls::from))
}

fn notice(
    snapshot: &Snapshot,
    reservation: &Reservation,
    transition: &Transition,
) -> OutboxMessage {
    let view = view(snapshot, reservation);
    let notice = match transition.to {
        State::Confirmed => Notice::confirmed(view),
        _ => Notice::Cancelled {
            reservation: view,
            note: transition.note().map(str::to_owned),
            credit: transition.is_credit().then(|| event::credit_id(reservation.id)),
        },
    };
    notice_message(reservation, &notice)
}

fn notice_message(reservation: &Reservation, notice: &Notice) -> OutboxMessage {
    OutboxMessage {
        id: notice.id(),
        kind: "notice",
        type_name: notice.type_name(),
        routing_key: reservation.terminal.to_string(),
        must_route: false,
        body: notice.to_json(),
        trace: reservation.trace.clone(),
    }
}
