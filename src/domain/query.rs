//! Queries (R13): what terminals ask without changing anything.
//!
//! Rows for lists and calendars are read before the batch is decided, so what earlier steps of the
//! batch did is laid over them here.

use std::collections::HashSet;

use uuid::Uuid;

use super::capacity::{FreeSpan, free_spans};
use super::decide::find;
use super::id::ServerId;
use super::interval::Interval;
use super::refusal::Code;
use super::reservation::Reservation;
use super::snapshot::{
    Action, Availability, Booked, Changes, Decision, Listed, Refusal, Snapshot, Terminal,
};

/// Most spans in one answer: some 40 kB. What is told then ends earlier, and can be asked on.
pub const SPANS_MAX: usize = 500;

/// Answers the query of step `index`.
pub fn answer(
    world: &Snapshot,
    index: usize,
    terminal: &Terminal,
    query: &Action,
    effects: &Changes,
) -> Result<Decision, Refusal> {
    match query {
        Action::List { after, limit } => Ok(list(world, index, terminal, *after, *limit, effects)),
        Action::Availability { server, window } => {
            availability(world, index, server, window, effects).map(Decision::Availability)
        }
        Action::Show(id) => find(world, terminal, *id).map(|found| Decision::Shown(found.clone())),
        _ => unreachable!("not a query"),
    }
}

/// Reservations that this batch made.
fn made<'a>(world: &'a Snapshot, effects: &'a Changes) -> impl Iterator<Item = &'a Reservation> {
    let new = effects.transitions.iter().filter(|transition| transition.from.is_none());
    new.map(|transition| &world.reservations[&transition.reservation])
}

fn list(
    world: &Snapshot,
    index: usize,
    terminal: &Terminal,
    after: Option<Uuid>,
    limit: usize,
    effects: &Changes,
) -> Decision {
    let mut page = world.pages.get(&index).cloned().unwrap_or_default();
    for listed in &mut page {
        if let Some(current) = world.reservations.get(&listed.reservation.id) {
            listed.reservation = current.clone();
        }
    }
    let own = made(world, effects).filter(|reservation| {
        reservation.user == terminal.user && after.is_none_or(|after| reservation.id < after)
    });
    page.extend(own.map(|reservation| {
        Listed {
            reservation: reservation.clone(),
            connection_url: world
                .servers
                .get(&reservation.server)
                .map(|server| server.connection_url.clone())
                .unwrap_or_default(),
        }
    }));
    page.sort_unstable_by_key(|listed| std::cmp::Reverse(listed.reservation.id));
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|last| last.reservation.id);
    Decision::Listed { page, next }
}

fn availability(
    world: &Snapshot,
    index: usize,
    server: &ServerId,
    window: &Interval,
    effects: &Changes,
) -> Result<Availability, Refusal> {
    let unknown = || Refusal::plain(Code::UnknownServer);
    let calendar = world.calendars.get(&index).ok_or_else(unknown)?;
    let dead: HashSet<Uuid> = effects
        .transitions
        .iter()
        .filter(|transition| !transition.to.is_live())
        .map(|transition| transition.reservation)
        .collect();
    let new = made(world, effects)
        .filter(|reservation| reservation.server == *server)
        .map(|reservation| Booked { id: reservation.id, busy: reservation.busy() });
    let booked = calendar.booked.iter().copied().chain(new);
    let busy = booked.filter(|booked| !dead.contains(&booked.id)).map(|booked| booked.busy);
    let closed = calendar.server.closures.iter().copied();
    let end = calendar.complete_until.unwrap_or(window.end).min(window.end);
    let known = Interval::new(window.start, end).unwrap_or(*window);
    let mut free: Vec<FreeSpan> = free_spans(&known, calendar.server.capacity, busy, closed);
    free.truncate(SPANS_MAX);
    let told_until = free.last().map_or(known.end, |last| last.interval.end);
    let window = Interval { start: window.start, end: told_until };
    Ok(Availability { server: calendar.server.clone(), window, free })
}
