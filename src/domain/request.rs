//! Requests (R1 to R6): checks in documented order, then the hold.

use chrono::TimeDelta;

use super::batch::{Batch, Sent};
use super::capacity::peak_depth;
use super::id::reservation_id;
use super::interval::{Interval, Timestamp};
use super::outcome::{Decision, Refusal};
use super::refusal::Code;
use super::reservation::{Reservation, State};
use super::server::{LateBooking, Server};
use super::snapshot::Snapshot;

pub(super) fn request(
    batch: &mut Batch,
    sent: &Sent<'_>,
    interval: &Interval,
) -> Result<Decision, Refusal> {
    let snapshot = &batch.snapshot;
    let named = snapshot.servers.get(&sent.command.server);
    let server = named.ok_or_else(|| Refusal::plain(Code::UnknownServer))?;
    check_policy(snapshot, server, interval)?;
    let late = deadline_at(server, interval) <= snapshot.now;
    if late && server.late_booking == LateBooking::Reject {
        return Err(Refusal::plain(Code::TooLateToReconfirm));
    }
    // Holds that were not loaded count as full.
    let holds = snapshot.holds.get(&sent.terminal.user);
    if !late && holds.is_none_or(|holds| holds.count >= holds.max) {
        return Err(Refusal::plain(Code::TooManyHolds));
    }
    let receipts = snapshot.quota.receipts(&sent.terminal.user, interval);
    if !receipts.iter().all(|receipt| receipt.fits()) {
        return Err(Refusal { receipts, ..Refusal::plain(Code::QuotaExceeded) });
    }
    check_capacity(snapshot, server, interval)?;

    let mut reservation = hold(snapshot, sent, server, interval);
    let id = reservation.id;
    batch.changes.transitions.push(sent.transition(id, None, State::Held));
    if late {
        reservation.state = State::Confirmed;
        reservation.settled_at = Some(snapshot.now);
        let confirmed = sent.transition(id, Some(State::Held), State::Confirmed);
        batch.changes.transitions.push(confirmed);
    } else {
        batch.changes.timers.insert(reservation.deadline_at);
        batch.changes.timers.extend(reservation.remind_at);
    }
    batch.snapshot.book(&reservation);
    Ok(Decision::Accepted { reservation, receipts })
}

fn deadline_at(server: &Server, interval: &Interval) -> Timestamp {
    interval.start - TimeDelta::seconds(server.lead_seconds)
}

fn check_policy(snapshot: &Snapshot, server: &Server, interval: &Interval) -> Result<(), Refusal> {
    let seconds = interval.seconds();
    let horizon = snapshot.now + TimeDelta::seconds(server.horizon_seconds);
    let checks = [
        (!server.open, Code::ServerClosed),
        (!interval.on_grid(server.slot_seconds), Code::OffGrid),
        (seconds < server.min_seconds, Code::TooShort),
        (seconds > server.max_seconds, Code::TooLong),
        (interval.start <= snapshot.now, Code::StartInPast),
        (interval.start > horizon, Code::BeyondHorizon),
        (server.closures.iter().any(|closure| closure.overlaps(interval)), Code::Closure),
    ];
    match checks.into_iter().find(|(failed, _)| *failed) {
        Some((_, code)) => Err(Refusal::plain(code)),
        None => Ok(()),
    }
}

fn check_capacity(
    snapshot: &Snapshot,
    server: &Server,
    interval: &Interval,
) -> Result<(), Refusal> {
    let busy = interval.with_gap(server.gap_seconds);
    let booked = snapshot.booked.get(&server.id).into_iter().flatten().map(|booked| booked.busy);
    if peak_depth(&busy, booked) >= server.capacity {
        return Err(Refusal::plain(Code::CapacityExceeded));
    }
    Ok(())
}

fn hold(snapshot: &Snapshot, sent: &Sent<'_>, server: &Server, interval: &Interval) -> Reservation {
    let now = snapshot.now;
    let deadline_at = deadline_at(server, interval);
    let remind_at = deadline_at - TimeDelta::seconds(server.reminder_seconds);
    let (terminal, message_id) = (&sent.command.terminal, &sent.command.message_id);
    Reservation {
        id: reservation_id(now, sent.index, terminal, message_id),
        terminal: terminal.clone(),
        message_id: message_id.clone(),
        user: sent.terminal.user.clone(),
        server: server.id.clone(),
        interval: *interval,
        busy_until: interval.with_gap(server.gap_seconds).end,
        deadline_at,
        remind_at: Some(remind_at).filter(|at| server.reminder_seconds > 0 && *at > now),
        reminded_at: None,
        state: State::Held,
        cancel_reason: None,
        price_minor: server.tariff.price_minor(interval.seconds()),
        currency: server.tariff.currency.clone(),
        tariff_version: server.tariff.version,
        held_at: now,
        reconfirmed_at: None,
        settled_at: None,
    }
}
