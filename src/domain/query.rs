//! Queries (R13). Pages and calendars are loaded before the batch is decided; the batch's own
//! changes are applied to them here.

use std::cmp::Reverse;
use std::collections::HashSet;

use uuid::Uuid;

use super::batch::Batch;
use super::capacity::free_spans;
use super::input::{Action, Command, Page, Window};
use super::interval::Interval;
use super::outcome::{Availability, Decision, Listed, Refusal};
use super::refusal::Code;
use super::reservation::Reservation;
use super::snapshot::{Booked, Terminal};

/// Some 40 kB. A longer answer is cut; the terminal continues from its end.
pub const SPANS_MAX: usize = 500;

pub(super) fn answer(
    batch: &Batch,
    terminal: &Terminal,
    command: &Command,
) -> Result<Decision, Refusal> {
    match &command.action {
        Action::List(page) => Ok(list(batch, terminal, command, *page)),
        Action::Availability(window) => availability(batch, window).map(Decision::Availability),
        Action::Show(id) => {
            batch.snapshot.find(&terminal.user, *id).map(|found| Decision::Shown(found.clone()))
        }
        Action::Request(_) | Action::Reconfirm(_) | Action::Withdraw(_) => {
            unreachable!("not a query")
        }
    }
}

/// Reservations that this batch made.
fn made(batch: &Batch) -> impl Iterator<Item = &Reservation> {
    let new = batch.changes.transitions.iter().filter(|transition| transition.from.is_none());
    new.map(|transition| &batch.snapshot.reservations[&transition.reservation])
}

fn list(batch: &Batch, terminal: &Terminal, command: &Command, page: Page) -> Decision {
    let snapshot = &batch.snapshot;
    let key = (command.terminal.clone(), page);
    let mut listed: Vec<Listed> =
        snapshot.pages.get(&key).expect("every page that is asked for is loaded").clone();
    for listed in &mut listed {
        if let Some(current) = snapshot.reservations.get(&listed.reservation.id) {
            listed.reservation = current.clone();
        }
    }
    let own = made(batch).filter(|reservation| {
        reservation.user == terminal.user && page.after.is_none_or(|after| reservation.id < after)
    });
    listed.extend(own.map(|reservation| Listed {
        reservation: reservation.clone(),
        connection_url: snapshot.servers[&reservation.server].connection_url.clone(),
    }));
    listed.sort_unstable_by_key(|listed| Reverse(listed.reservation.id));
    let more = listed.len() > page.limit;
    listed.truncate(page.limit);
    let next = listed.last().filter(|_| more).map(|last| last.reservation.id);
    Decision::Listed { page: listed, next }
}

fn availability(batch: &Batch, asked: &Window) -> Result<Availability, Refusal> {
    let unknown = || Refusal::plain(Code::UnknownServer);
    let calendar = batch.snapshot.calendars.get(asked).ok_or_else(unknown)?;
    let transitions = batch.changes.transitions.iter();
    let ended: HashSet<Uuid> = transitions
        .filter(|transition| !transition.to.is_live())
        .map(|transition| transition.reservation)
        .collect();
    let new = made(batch)
        .filter(|reservation| reservation.server == asked.server)
        .map(|reservation| Booked { id: reservation.id, busy: reservation.busy() });
    let booked = calendar.booked.iter().copied().chain(new);
    let busy = booked.filter(|booked| !ended.contains(&booked.id)).map(|booked| booked.busy);
    let closed = calendar.server.closures.iter().copied();
    let Interval { start, end } = asked.interval;
    let known_until = calendar.complete_until.map_or(end, |complete| complete.min(end));
    let known = Interval::new(start, known_until).unwrap_or(asked.interval);
    let mut free = free_spans(&known, calendar.server.capacity, busy, closed);
    free.truncate(SPANS_MAX);
    let told_until = free.last().map_or(known.end, |last| last.interval.end);
    let window = Interval { start, end: told_until };
    Ok(Availability { server: calendar.server.clone(), window, free })
}
