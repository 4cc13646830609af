//! The rules, applied to a batch in queue order.
//!
//! Later steps see what earlier ones did. Nothing here reads a clock, a queue or a database.

use chrono::TimeDelta;
use uuid::Uuid;

use super::cancel;
use super::capacity::peak_depth;
use super::id::{ServerId, UserId};
use super::interval::Interval;
use super::query;
use super::refusal::Code;
use super::reservation::{CancelReason, Reservation, State};
use super::server::{LateBooking, Server};
use super::settle;
use super::snapshot::{
    Action, Booked, Cause, Changes, Command, Decision, Known, Outcome, Refusal, Snapshot, Step,
    Terminal, Transition,
};

/// Decides every step in order. Returns one verdict per step and what changes; `world` holds the
/// reservations as they are afterwards.
pub fn decide(world: &mut Snapshot, steps: &[Step]) -> (Vec<Outcome>, Changes) {
    let mut effects = Changes::default();
    let verdicts = steps
        .iter()
        .enumerate()
        .map(|(index, step)| match step {
            Step::Command(command) => decide_command(world, index, command, &mut effects),
            Step::WakeUp(wake_up) => Outcome::WakeUp(settle::wake_up(world, wake_up, &mut effects)),
            Step::Cancel(wish) => Outcome::Cancel(cancel::by_operator(world, wish, &mut effects)),
        })
        .collect();
    mark_reminded(world, &mut effects);
    (verdicts, effects)
}

/// Reminds of what is still only held after the whole batch.
fn mark_reminded(world: &mut Snapshot, effects: &mut Changes) {
    effects.reminders.retain(|id| world.reservations[id].state == State::Held);
    for id in &effects.reminders {
        let reservation = world.reservations.get_mut(id).expect("collected from there");
        reservation.remind_at = None;
        reservation.reminded_at = Some(world.now);
    }
}

fn decide_command(
    world: &mut Snapshot,
    index: usize,
    command: &Command,
    effects: &mut Changes,
) -> Outcome {
    let Some(terminal) = world.terminals.get(&command.terminal).cloned() else {
        return Outcome::UnknownTerminal;
    };
    if !terminal.enabled {
        return Outcome::Undecided(Refusal::plain(Code::TerminalDisabled));
    }
    if command.action.is_query() {
        // A query changes nothing and takes no place in the order.
        let answer = query::answer(world, index, &terminal, &command.action, effects);
        return Outcome::Answered(answer.unwrap_or_else(Decision::Refused));
    }
    let key = (command.terminal.clone(), command.message_id.clone());
    match world.known.get(&key) {
        Some(Known::Stored(stored)) if stored.digest == command.digest => {
            return Outcome::Replay(stored.clone());
        }
        Some(Known::InBatch { step, digest }) if *digest == command.digest => {
            return Outcome::RepeatOf(*step);
        }
        Some(_) => return Outcome::Undecided(Refusal::plain(Code::IdempotencyMismatch)),
        None => {}
    }
    let order = effects.next_order();
    let decision = act(world, &terminal, command, order, effects);
    if let Decision::Refused(refusal) = &decision
        && matches!(refusal.code, Code::InconsistentMessage | Code::Misrouted)
    {
        return Outcome::Undecided(refusal.clone());
    }
    world.known.insert(key, Known::InBatch { step: index, digest: command.digest });
    Outcome::Decided { decision, order }
}

fn act(
    world: &mut Snapshot,
    terminal: &Terminal,
    command: &Command,
    order: u32,
    effects: &mut Changes,
) -> Decision {
    let result = match &command.action {
        Action::Request { candidate, interval } => {
            request(world, terminal, command, (*candidate, interval), order, effects)
        }
        Action::Reconfirm(id) => reconfirm(world, terminal, command, *id, order, effects),
        Action::Withdraw(id) => withdraw(world, terminal, command, *id, order, effects),
        Action::Show(_) | Action::List { .. } | Action::Availability { .. } => {
            unreachable!("queries are answered elsewhere")
        }
    };
    result.unwrap_or_else(Decision::Refused)
}

/// Unknown and foreign reservations get the same answer, so that nobody can probe for ids.
pub(super) fn find<'a>(
    world: &'a Snapshot,
    terminal: &Terminal,
    id: Uuid,
) -> Result<&'a Reservation, Refusal> {
    world
        .reservations
        .get(&id)
        .filter(|reservation| reservation.user == terminal.user)
        .ok_or_else(|| Refusal::plain(Code::UnknownReservation))
}

/// Finds the reservation that a command changes and checks that the command came through the
/// partition of the reservation's server: only there does it stand in line with the deadline.
fn find_to_change(
    world: &Snapshot,
    terminal: &Terminal,
    command: &Command,
    id: Uuid,
) -> Result<State, Refusal> {
    let reservation = find(world, terminal, id)?;
    if command.server.as_ref() != Some(&reservation.server) {
        return Err(Refusal::of_field(Code::InconsistentMessage, "headers.server"));
    }
    if let Some(server) = world.servers.get(&reservation.server) {
        check_partition(world, server)?;
    }
    match reservation.state {
        State::Confirmed => Err(Refusal::plain(Code::AlreadyConfirmed)),
        State::Cancelled => Err(Refusal {
            reason: reservation.cancel_reason,
            ..Refusal::plain(Code::AlreadyCancelled)
        }),
        unsettled => Ok(unsettled),
    }
}

/// Reconfirms without looking at the clock: until the deadline's wake-up is read, everything that
/// stands before it in the queue is in time (R9).
fn reconfirm(
    world: &mut Snapshot,
    terminal: &Terminal,
    command: &Command,
    id: Uuid,
    order: u32,
    effects: &mut Changes,
) -> Result<Decision, Refusal> {
    let from = find_to_change(world, terminal, command, id)?;
    let now = world.now;
    let reservation = world.reservations.get_mut(&id).expect("found above");
    if from == State::Held {
        reservation.state = State::Reconfirmed;
        reservation.reconfirmed_at = Some(now);
        effects.transitions.push(by_terminal(command, id, Some(from), State::Reconfirmed, order));
    }
    let decided = reservation.clone();
    if from == State::Held
        && let Some(holds) = world.holds.get_mut(&decided.user)
    {
        holds.count -= 1;
    }
    Ok(Decision::Reconfirmed(decided))
}

fn withdraw(
    world: &mut Snapshot,
    terminal: &Terminal,
    command: &Command,
    id: Uuid,
    order: u32,
    effects: &mut Changes,
) -> Result<Decision, Refusal> {
    let from = find_to_change(world, terminal, command, id)?;
    effects.transitions.push(by_terminal(command, id, Some(from), State::Cancelled, order));
    world.cancel(id, CancelReason::Withdrawn);
    Ok(Decision::Withdrawn(world.reservations[&id].clone()))
}

fn request(
    world: &mut Snapshot,
    terminal: &Terminal,
    command: &Command,
    (candidate, interval): (Uuid, &Interval),
    order: u32,
    effects: &mut Changes,
) -> Result<Decision, Refusal> {
    let named = command.server.as_ref().and_then(|id| world.servers.get(id));
    let server = named.ok_or_else(|| Refusal::plain(Code::UnknownServer))?.clone();
    check_partition(world, &server)?;
    check_policy(world, &server, interval)?;
    let deadline_at = interval.start - TimeDelta::seconds(server.lead_seconds);
    let late = deadline_at <= world.now;
    if late && server.late_booking == LateBooking::Reject {
        return Err(Refusal::plain(Code::TooLateToReconfirm));
    }
    // Without a count there is no saying that there is room.
    let full = world.holds.get(&terminal.user).is_none_or(|holds| holds.count >= holds.max);
    if !late && full {
        return Err(Refusal::plain(Code::TooManyHolds));
    }
    let receipts = world.quota.receipts(&terminal.user, interval);
    if !receipts.iter().all(|receipt| receipt.fits()) {
        return Err(Refusal { receipts, ..Refusal::plain(Code::QuotaExceeded) });
    }
    check_capacity(world, &server, interval)?;

    let mut reservation = hold(world, terminal, command, candidate, &server, interval);
    effects.transitions.push(by_terminal(command, candidate, None, State::Held, order));
    if late {
        reservation.state = State::Confirmed;
        reservation.settled_at = Some(world.now);
        let confirmed = by_terminal(command, candidate, Some(State::Held), State::Confirmed, order);
        effects.transitions.push(confirmed);
    } else {
        effects.wake_ups.insert(deadline_at);
        effects.wake_ups.extend(reservation.remind_at);
    }
    world.book(&reservation);
    Ok(Decision::Accepted { reservation, receipts })
}

/// The broker picks the partition by the header `server`. With the header set twice it may read
/// another one than we do; a server's commands must all stand in one queue. The fault can also be
/// the broker's, for example while a partition's queue is gone: so the same message may come again.
fn check_partition(world: &Snapshot, server: &Server) -> Result<(), Refusal> {
    if server.partition.is_some_and(|partition| partition != world.partition) {
        return Err(Refusal::of_field(Code::Misrouted, "headers.server"));
    }
    Ok(())
}

/// The checks against the server's policy, in the documented order.
fn check_policy(world: &Snapshot, server: &Server, interval: &Interval) -> Result<(), Refusal> {
    let seconds = interval.seconds();
    let horizon = world.now + TimeDelta::seconds(server.horizon_seconds);
    let checks = [
        (!server.open, Code::ServerClosed),
        (!interval.on_grid(server.slot_seconds), Code::OffGrid),
        (seconds < server.min_seconds, Code::TooShort),
        (seconds > server.max_seconds, Code::TooLong),
        (interval.start <= world.now, Code::StartInPast),
        (interval.start > horizon, Code::BeyondHorizon),
        (server.closures.iter().any(|closure| closure.overlaps(interval)), Code::Closure),
    ];
    match checks.into_iter().find(|(failed, _)| *failed) {
        Some((_, code)) => Err(Refusal::plain(code)),
        None => Ok(()),
    }
}

fn check_capacity(world: &Snapshot, server: &Server, interval: &Interval) -> Result<(), Refusal> {
    let busy = interval.with_gap(server.gap_seconds);
    let booked = world.booked.get(&server.id).into_iter().flatten().map(|booked| booked.busy);
    if peak_depth(&busy, booked) >= server.capacity {
        return Err(Refusal::plain(Code::CapacityExceeded));
    }
    Ok(())
}

fn hold(
    world: &Snapshot,
    terminal: &Terminal,
    command: &Command,
    id: Uuid,
    server: &Server,
    interval: &Interval,
) -> Reservation {
    let deadline_at = interval.start - TimeDelta::seconds(server.lead_seconds);
    let remind_at = deadline_at - TimeDelta::seconds(server.reminder_seconds);
    Reservation {
        id,
        terminal: command.terminal.clone(),
        message_id: command.message_id.clone(),
        user: terminal.user.clone(),
        server: server.id.clone(),
        interval: *interval,
        busy_until: interval.with_gap(server.gap_seconds).end,
        deadline_at,
        remind_at: Some(remind_at).filter(|at| server.reminder_seconds > 0 && *at > world.now),
        reminded_at: None,
        state: State::Held,
        cancel_reason: None,
        price_minor: server.tariff.price_minor(interval.seconds()),
        currency: server.tariff.currency.clone(),
        tariff_version: server.tariff.version,
        held_at: world.now,
        reconfirmed_at: None,
        settled_at: None,
    }
}

fn by_terminal(
    command: &Command,
    reservation: Uuid,
    from: Option<State>,
    to: State,
    order: u32,
) -> Transition {
    let cause = Cause::Terminal {
        terminal: command.terminal.clone(),
        message_id: command.message_id.clone(),
    };
    Transition { reservation, from, to, cause, order }
}

impl Snapshot {
    /// Takes capacity, quota and, for a hold, a place among the user's holds.
    fn book(&mut self, reservation: &Reservation) {
        let booked = Booked { id: reservation.id, busy: reservation.busy() };
        self.booked.entry(reservation.server.clone()).or_default().push(booked);
        self.quota.take(&reservation.user, &reservation.interval);
        if reservation.state == State::Held
            && let Some(holds) = self.holds.get_mut(&reservation.user)
        {
            holds.count += 1;
        }
        self.reservations.insert(reservation.id, reservation.clone());
    }

    /// Cancels a live reservation and frees what it took.
    pub(super) fn cancel(&mut self, id: Uuid, reason: CancelReason) {
        let now = self.now;
        let reservation = self.reservations.get_mut(&id).expect("the caller found it");
        let was_held = reservation.state == State::Held;
        reservation.state = State::Cancelled;
        reservation.cancel_reason = Some(reason);
        reservation.settled_at = Some(now);
        let (user, server, interval): (UserId, ServerId, Interval) =
            (reservation.user.clone(), reservation.server.clone(), reservation.interval);
        if let Some(booked) = self.booked.get_mut(&server) {
            booked.retain(|other| other.id != id);
        }
        self.quota.give_back(&user, &interval);
        if was_held && let Some(holds) = self.holds.get_mut(&user) {
            holds.count -= 1;
        }
    }
}
