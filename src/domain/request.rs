//! Requests (R1 to R6): checks in documented order, then the hold.

use chrono::TimeDelta;

use super::batch::{Batch, Sent};
use super::capacity::peak_depth;
use super::id::reservation_id;
use super::interval::{Interval, Timestamp};
use super::limit::{Limit, Relation, Unit};
use super::outcome::{Decision, Refusal, Reminder};
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
        let ahead = (interval.start - snapshot.now).num_seconds();
        let lead = seconds("lead_seconds", Relation::MoreThan, server.lead_seconds, Some(ahead));
        return Err(Refusal::beyond(Code::TooLateToReconfirm, lead));
    }
    // Holds that were not loaded count as full.
    let holds = snapshot.holds.get(&sent.terminal.user);
    if !late && holds.is_none_or(|holds| holds.count >= holds.max) {
        let limit = holds.map(|holds| {
            Box::new(Limit {
                name: "holds_max",
                relation: Relation::AtMost,
                value: holds.max,
                unit: Unit::Reservations,
                given: Some(holds.count + 1),
            })
        });
        return Err(Refusal { limit, ..Refusal::plain(Code::TooManyHolds) });
    }
    let receipts = snapshot.quota.receipts(&sent.terminal.user, interval);
    if let Some(receipt) = receipts.iter().find(|receipt| !receipt.fits()) {
        let wanted = receipt.used_seconds + receipt.requested_seconds;
        let limit = receipt.limit_seconds;
        let limit = seconds("limit_seconds", Relation::AtMost, limit, Some(wanted));
        return Err(Refusal { receipts, ..Refusal::beyond(Code::QuotaExceeded, limit) });
    }
    check_capacity(snapshot, server, interval)?;

    let server_reminds = server.reminder_seconds > 0;
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
    let reminder = match reservation.remind_at {
        _ if late => Reminder::Confirmed,
        Some(at) => Reminder::At(at),
        None if server_reminds => Reminder::Passed,
        None => Reminder::Off,
    };
    Ok(Decision::Accepted { reservation, receipts, reminder })
}

fn deadline_at(server: &Server, interval: &Interval) -> Timestamp {
    interval.start - TimeDelta::seconds(server.lead_seconds)
}

fn check_policy(snapshot: &Snapshot, server: &Server, interval: &Interval) -> Result<(), Refusal> {
    let horizon = snapshot.now + TimeDelta::seconds(server.horizon_seconds);
    let closure = server.closures.iter().find(|closure| closure.overlaps(interval)).copied();
    let length = interval.seconds();
    let checks = [
        (!server.open, Code::ServerClosed),
        (!interval.on_grid(server.slot_seconds), Code::OffGrid),
        (length < server.min_seconds, Code::TooShort),
        (length > server.max_seconds, Code::TooLong),
        (interval.start <= snapshot.now, Code::StartInPast),
        (interval.start > horizon, Code::BeyondHorizon),
        (closure.is_some(), Code::Closure),
    ];
    let Some((_, code)) = checks.into_iter().find(|(failed, _)| *failed) else { return Ok(()) };
    let limit = policy_limit(snapshot, server, interval, code).map(Box::new);
    let closure = closure.filter(|_| code == Code::Closure);
    Err(Refusal { limit, closure, ..Refusal::plain(code) })
}

/// The limit behind a code of the server's policy.
fn policy_limit(
    snapshot: &Snapshot,
    server: &Server,
    interval: &Interval,
    code: Code,
) -> Option<Limit> {
    let length = Some(interval.seconds());
    // Rounded up, so that it is always more than the horizon.
    let ahead = interval.start - snapshot.now + TimeDelta::nanoseconds(999_999_999);
    let (name, relation, value, given) = match code {
        Code::OffGrid => ("slot_seconds", Relation::MultipleOf, server.slot_seconds, None),
        Code::TooShort => ("min_seconds", Relation::AtLeast, server.min_seconds, length),
        Code::TooLong => ("max_seconds", Relation::AtMost, server.max_seconds, length),
        Code::BeyondHorizon => {
            let ahead = Some(ahead.num_seconds());
            ("horizon_seconds", Relation::AtMost, server.horizon_seconds, ahead)
        }
        _ => return None,
    };
    Some(seconds(name, relation, value, given))
}

fn seconds(name: &'static str, relation: Relation, value: i64, given: Option<i64>) -> Limit {
    Limit { name, relation, value, unit: Unit::Seconds, given }
}

fn check_capacity(
    snapshot: &Snapshot,
    server: &Server,
    interval: &Interval,
) -> Result<(), Refusal> {
    let busy = interval.with_gap(server.gap_seconds);
    let booked = snapshot.booked.get(&server.id).into_iter().flatten().map(|booked| booked.busy);
    if peak_depth(&busy, booked) >= server.capacity {
        let limit = Limit {
            name: "capacity",
            relation: Relation::AtMost,
            value: i64::try_from(server.capacity).unwrap_or(i64::MAX),
            unit: Unit::Reservations,
            given: None,
        };
        return Err(Refusal::beyond(Code::CapacityExceeded, limit));
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
        trace: sent.command.trace.clone(),
    }
}
