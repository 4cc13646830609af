//! Queries (R13). They change nothing and have no place in the decision order: each is answered from
//! what is committed when it is read.

use std::collections::HashMap;

use chrono::TimeDelta;
use uuid::Uuid;

use super::access::Access;
use super::id::{ServerId, TerminalId};
use super::interval::{Interval, Timestamp};
use super::offer::{FreeSpan, Starts, places};
use super::outcome::Refusal;
use super::refusal::Code;
use super::reservation::Reservation;
use super::server::Server;
use super::snapshot::Terminal;

/// Some 40 kB. A longer answer is cut; the terminal continues from its end.
pub const SPANS_MAX: usize = 500;

/// A decoded query from an authenticated terminal.
#[derive(Debug, Clone)]
pub struct Query {
    /// The sender.
    pub terminal: TerminalId,
    /// Repeated in the answer.
    pub message_id: String,
    /// What it asks for.
    pub asked: Asked,
}

/// What a query asks for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A reservation.
    Reservation(Uuid),
    /// The user's reservations, newest first.
    Page(Page),
    /// A server's free places over time.
    Availability(Window),
}

/// One page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// Last id of the previous page.
    pub after: Option<Uuid>,
    /// Most reservations.
    pub limit: usize,
}

/// A span of one server's time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Window {
    /// The server.
    pub server: ServerId,
    /// The span.
    pub interval: Interval,
}

/// What queries are answered from.
#[derive(Debug, Clone)]
pub struct View {
    /// The clock of the database that was asked.
    pub now: Timestamp,
    /// Everything committed before this instant is in the view. Earlier than `now` on a standby.
    pub as_of: Timestamp,
    /// Terminals that sent something.
    pub terminals: HashMap<TerminalId, Terminal>,
    /// Named reservations.
    pub reservations: HashMap<Uuid, Listed>,
    /// Each with one reservation more than it may have, if there are more.
    pub pages: HashMap<(TerminalId, Page), Vec<Listed>>,
    /// None if the server is unknown.
    pub calendars: HashMap<Window, Calendar>,
}

/// A reservation and what its answer needs of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The reservation.
    pub reservation: Reservation,
    /// Its server's connection URL, shown if it is confirmed.
    pub connection_url: String,
    /// Where others watch.
    pub view_url: Option<String>,
    /// Of which its key is derived, if it has one. Lists do without.
    pub access: Option<Access>,
    /// Why an operator cancelled it.
    pub note: Option<String>,
    /// Whether a charge was credited when it was cancelled.
    pub credited: bool,
}

/// Bookings in a window.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// With the closures that touch the window.
    pub server: Server,
    /// When live reservations keep the server busy, through the window and the turn-around behind it.
    pub busy: Vec<Interval>,
    /// If more is booked than loaded: only earlier time is known.
    pub complete_until: Option<Timestamp>,
}

/// Outcome of a query.
#[derive(Debug, Clone)]
pub enum QueryOutcome {
    /// What was asked for.
    Found(Box<Found>),
    /// Why there is nothing to tell.
    Refused(Refusal),
    /// Not a registered terminal.
    UnknownTerminal,
}

/// What a query finds.
#[derive(Debug, Clone)]
pub enum Found {
    /// A reservation.
    Reservation(Listed),
    /// The user's reservations.
    Page {
        /// Newest first.
        page: Vec<Listed>,
        /// Cursor of the next page, if any.
        next: Option<Uuid>,
    },
    /// A server's free places.
    Availability(Availability),
}

/// Free places over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// The server.
    pub server: Server,
    /// May end before the requested window.
    pub window: Interval,
    /// In order of time.
    pub free: Vec<FreeSpan>,
    /// When a reservation can start; `None` if at no time.
    pub starts: Option<Starts>,
}

/// Answers a query.
pub fn answer(view: &View, query: &Query) -> QueryOutcome {
    let Some(terminal) = view.terminals.get(&query.terminal) else {
        return QueryOutcome::UnknownTerminal;
    };
    if !terminal.enabled {
        return QueryOutcome::Refused(Refusal::plain(Code::TerminalDisabled));
    }
    let found = match &query.asked {
        Asked::Reservation(id) => show(view, terminal, *id),
        Asked::Page(page) => Ok(list(view, query, *page)),
        Asked::Availability(window) => availability(view, window).map(Found::Availability),
    };
    found.map_or_else(QueryOutcome::Refused, |found| QueryOutcome::Found(Box::new(found)))
}

/// Unknown and foreign reservations get the same answer, so that nobody can probe for ids (R8).
fn show(view: &View, terminal: &Terminal, id: Uuid) -> Result<Found, Refusal> {
    view.reservations
        .get(&id)
        .filter(|listed| listed.reservation.user == terminal.user)
        .map(|listed| Found::Reservation(listed.clone()))
        .ok_or_else(|| Refusal::plain(Code::UnknownReservation))
}

fn list(view: &View, query: &Query, page: Page) -> Found {
    let key = (query.terminal.clone(), page);
    let mut listed = view.pages.get(&key).cloned().unwrap_or_default();
    let more = listed.len() > page.limit;
    listed.truncate(page.limit);
    let next = listed.last().filter(|_| more).map(|last| last.reservation.id);
    Found::Page { page: listed, next }
}

fn availability(view: &View, asked: &Window) -> Result<Availability, Refusal> {
    let unknown = || Refusal::plain(Code::UnknownServer);
    let calendar = view.calendars.get(asked).ok_or_else(unknown)?;
    let server = &calendar.server;
    let starts = Starts::of(server, view.now);
    let Interval { start, end } = asked.interval;
    let (known_until, all_known) = known_until(calendar, asked);
    let known = Interval::new(start, known_until).unwrap_or(asked.interval);
    let mut free = places(server, starts.filter(|_| all_known), &known, &calendar.busy);
    free.truncate(SPANS_MAX);
    let end = free.last().map_or(end, |last| last.interval.end);
    Ok(Availability { server: server.clone(), window: Interval { start, end }, free, starts })
}

/// How far the bookings tell what is free, and whether they tell anything. A reservation needs a place for the
/// turn-around behind it. If not even that is known at the window's start, nothing is offered as far as the
/// loaded bookings reach. That takes more than a thousand bookings within one turn-around beyond what the
/// server's capacity allows: they were made before the turn-around was lengthened.
fn known_until(calendar: &Calendar, asked: &Window) -> (Timestamp, bool) {
    let Interval { start, end } = asked.interval;
    let Some(complete_until) = calendar.complete_until else { return (end, true) };
    let known_until = complete_until - TimeDelta::seconds(calendar.server.gap_seconds);
    match known_until > start {
        true => (known_until.min(end), true),
        false => (complete_until.min(end), false),
    }
}
