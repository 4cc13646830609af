//! Checks of how reservations ended and of the notices about it.

use std::collections::{HashMap, HashSet};

use chrono::TimeDelta;
use holdfast::message::answer::{Answer, Notice, ReservationView};
use holdfast::message::command::Kind;
use uuid::Uuid;

use super::{Check, Seen};
use crate::record::Heard;

/// A publisher confirm this long before the deadline proves that the reconfirmation was in time.
/// With a single clock, no margin would be needed.
const MARGIN: TimeDelta = TimeDelta::seconds(2);

/// A reservation, how it ended, and why.
type Ending = (Uuid, String, Option<String>);

fn ending(view: &ReservationView) -> Ending {
    (view.id, view.state.clone(), view.cancel_reason.clone())
}

/// The ending that an answer or a notice reports to the terminal that made the reservation.
fn told_by(heard: &Heard) -> Option<Ending> {
    match heard.answer() {
        Some(Answer::Accepted { reservation, .. }) if reservation.state == "confirmed" => {
            return Some(ending(&reservation));
        }
        Some(Answer::Withdrawn { reservation, .. }) => return Some(ending(&reservation)),
        _ => {}
    }
    match heard.notice()? {
        Notice::Confirmed { reservation, .. } | Notice::Cancelled { reservation, .. } => {
            Some(ending(&reservation))
        }
        Notice::Reminder { .. } => None,
    }
}

/// Every ending is reported to its terminal by one notice or one answer, and no other ending is.
pub fn told_once(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("every ending was told to its terminal exactly once");
    let robbed = seen.terminals.iter().filter(|terminal| terminal.was_robbed());
    let robbed: HashSet<&str> = robbed.map(|terminal| terminal.id.as_str()).collect();
    let mut told: HashMap<Ending, HashSet<String>> = HashMap::new();
    for terminal in seen.terminals {
        let record = terminal.record();
        for heard in record.answers.values().flatten().chain(&record.notices) {
            let Some(ending) = told_by(heard) else { continue };
            let owner = seen.facts.reservations.get(&ending.0).map(|known| &known.terminal);
            // If the user's other terminal withdrew it, the owner gets a notice.
            if owner == Some(&terminal.id) {
                told.entry(ending).or_default().insert(heard.id.clone());
            }
        }
    }
    for happened in &seen.facts.endings {
        let state = happened.state.clone();
        let ending = (happened.reservation, state, happened.reason.clone());
        let times = told.remove(&ending).map_or(0, |ids| ids.len());
        let owner = seen.facts.reservations.get(&happened.reservation);
        let lost = owner.is_some_and(|owner| robbed.contains(owner.terminal.as_str()));
        check.that(times == 1 || (times == 0 && lost), || {
            format!("{ending:?} was told {times} times")
        });
    }
    for (ending, _) in told {
        check.that(false, || format!("{ending:?} was told and never happened"));
    }
    check
}

/// No reservation that was reconfirmed in time is lost. In time is before the clock of record reaches the
/// deadline, which is early if that clock is set ahead (P8).
pub fn in_time(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("nothing that was reconfirmed in time ended as not reconfirmed");
    for terminal in seen.terminals {
        let record = terminal.record();
        for sent in record.sent.values() {
            let Some(id) = sent.intent.reservation else { continue };
            let (Some(confirmed_at), Some(reservation)) =
                (sent.confirmed_at, seen.facts.reservations.get(&id))
            else {
                continue;
            };
            let jumps = &seen.ground.jumps;
            let due_at =
                jumps.reached(reservation.deadline_at, jumps.true_time(reservation.held_at));
            let reconfirms = sent.intent.command.kind == Kind::Reconfirm;
            // It was deleted with its queue, which no promise covers.
            let wiped = seen.ground.wiped.lock().expect("no panics");
            let wiped = wiped.iter().any(|at| confirmed_at <= *at);
            // Its server had left the queue that it was put into, and it was asked for again.
            let message = &sent.intent.command.message_id;
            let turned_away = record.turned_away(message) > 0;
            if reconfirms && !wiped && !turned_away && confirmed_at + MARGIN <= due_at {
                let lost = reservation.cancel_reason.as_deref() == Some("not_reconfirmed");
                check.that(!lost, || {
                    format!("{id}: {message} was in time, confirmed at {confirmed_at}")
                });
            }
        }
    }
    check
}

/// Nothing is billed that was not reconfirmed.
pub fn wanted(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("only what was reconfirmed, or booked late, was confirmed");
    let (mut wanted, mut late) = (HashSet::new(), HashSet::new());
    for terminal in seen.terminals {
        let record = terminal.record();
        for sent in record.sent.values() {
            if sent.intent.command.kind == Kind::Reconfirm {
                wanted.extend(sent.intent.reservation);
            }
        }
        for (message, heard) in &record.answers {
            let accepted = heard.iter().filter_map(Heard::answer);
            let at_once = accepted.into_iter().any(|answer| {
                matches!(answer, Answer::Accepted { reservation, .. } if reservation.state == "confirmed")
            });
            if at_once {
                late.insert((terminal.id.clone(), message.clone()));
            }
        }
    }
    for happened in seen.facts.endings.iter().filter(|ending| ending.state == "confirmed") {
        let id = happened.reservation;
        let request = seen.facts.reservations.get(&id);
        let request = request.map(|known| (known.terminal.clone(), known.message_id.clone()));
        let booked_late = request.is_some_and(|request| late.contains(&request));
        check.that(booked_late || wanted.contains(&id), || {
            format!("{id} was confirmed, but nobody reconfirmed it")
        });
    }
    check
}

/// A reservation that an operator cancelled stays cancelled.
pub fn by_operators(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("what an operator cancelled is cancelled");
    for id in seen.ground.cancelled.lock().expect("no panics").iter() {
        let reservation = seen.facts.reservations.get(id);
        let reason = reservation.and_then(|known| known.cancel_reason.as_deref());
        check.that(reason == Some("operator"), || format!("{id}: {reason:?}"));
    }
    check
}
