//! Queries, answered by the product and naively, from how things stand between two batches.

use std::cmp::Reverse;
use std::collections::HashMap;

use holdfast::domain::id::ServerId;
use holdfast::domain::query::{
    Asked, Availability, Calendar, Found, Listed, Page, Query, QueryOutcome, View, Window, answer,
};
use holdfast::domain::snapshot::Terminal;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::generate::{any_house, no_server};
use super::heard::{self, same};
use super::stored;
use super::sums::{deepest, ticks};
use super::tally::Tally;
use super::target::{any_desk, pick};
use super::truth::{Desk, House, Row, Span, Truth, instant, interval, micros};

/// Longest window, in ticks.
const WINDOW_MAX: i64 = 40;

/// What is told, in words that the model and the product are both put into.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nobody,
    Refused(&'static str),
    Shown(Shown),
    /// The page, and where the next one begins.
    Page(Vec<Shown>, Option<Uuid>),
    /// The free places of each tick.
    Free {
        server: ServerId,
        span: Span,
        places: Vec<usize>,
        /// The first and the last start.
        starts: Option<Span>,
    },
}

/// A reservation and its server's URL.
type Shown = (Row, String);

/// Asks for something and compares the answers.
pub fn ask(rng: &mut StdRng, truth: &Truth, tally: &mut Tally) -> Result<(), String> {
    let query = invent(rng, truth);
    let view = load(rng, truth, &query);
    let expected = truth.told(&query, &view);
    note(&query, &view, &expected, tally);
    let got = told(truth, answer(&view, &query))?;
    same("answer to a query", &expected, &got).map_err(|wrong| format!("{wrong}\n{query:?}"))
}

fn invent(rng: &mut StdRng, truth: &Truth) -> Query {
    let asked = match rng.random_range(0..3) {
        0 => Asked::Reservation(pick(rng, truth, &[]).id),
        1 => {
            let last = truth.rows.choose(rng).map(|row| row.id);
            let after = last.filter(|_| rng.random_bool(0.5));
            Asked::Page(Page { after, limit: rng.random_range(1..=4) })
        }
        _ => {
            let server = if rng.random_bool(0.05) { no_server() } else { any_house(rng, truth) };
            let today = truth.now.div_euclid(truth.tick);
            let start = today + rng.random_range(-2..=20);
            let span =
                (start * truth.tick, (start + rng.random_range(1..=WINDOW_MAX)) * truth.tick);
            Asked::Availability(Window { server, interval: interval(span) })
        }
    };
    Query { terminal: any_desk(rng, truth), message_id: "query".to_owned(), asked }
}

/// What the query needs, the way the store gives it.
fn load(rng: &mut StdRng, truth: &Truth, query: &Query) -> View {
    let desk = truth.desk(&query.terminal);
    let terminal = |desk: &Desk| {
        (desk.id.clone(), Terminal { user: desk.user.clone(), enabled: desk.enabled })
    };
    let mut view = View {
        now: instant(truth.now),
        as_of: instant(truth.now),
        terminals: desk.map(terminal).into_iter().collect(),
        reservations: HashMap::new(),
        pages: HashMap::new(),
        calendars: HashMap::new(),
    };
    match &query.asked {
        Asked::Reservation(id) => {
            view.reservations.extend(truth.row(*id).map(|row| (*id, listed(truth, row))));
        }
        Asked::Page(page) => {
            let theirs = desk.map_or_else(Vec::new, |desk| truth.page(desk, page.after));
            let rows = theirs.into_iter().take(page.limit + 1).map(|row| listed(truth, row));
            let key = (query.terminal.clone(), *page);
            view.pages.insert(key, rows.collect());
        }
        Asked::Availability(window) => {
            let spare = if rng.random_bool(0.4) { rng.random_range(1..=2) } else { 1_000 };
            let calendar = truth.house(&window.server).map(|house| {
                let span = (micros(window.interval.start), micros(window.interval.end));
                calendar(truth, house, span, house.capacity + spare)
            });
            view.calendars.extend(calendar.map(|calendar| (window.clone(), calendar)));
        }
    }
    view
}

fn listed(truth: &Truth, row: &Row) -> Listed {
    let (_, connection_url) = truth.shown(row);
    let reservation = stored::reservation(row);
    Listed {
        reservation,
        connection_url,
        view_url: None,
        access: None,
        note: None,
        credited: false,
    }
}

/// The first `most` reservations that touch the window or the turn-around behind it.
fn calendar(truth: &Truth, house: &House, span: Span, most: usize) -> Calendar {
    let touches = |row: &&Row| row.start < span.1 + house.gap && span.0 < row.busy_until;
    let booked = truth.rows.iter().filter(|row| row.server == house.id && row.live());
    let mut booked: Vec<Span> =
        booked.filter(touches).map(|row| (row.start, row.busy_until)).collect();
    booked.sort_unstable();
    booked.truncate(most);
    let full = booked.len() == most;
    Calendar {
        server: stored::server(house),
        complete_until: booked.last().filter(|_| full).map(|last| instant(last.0)),
        busy: booked.into_iter().map(interval).collect(),
    }
}

impl Truth {
    fn told(&self, query: &Query, view: &View) -> Told {
        let Some(desk) = self.desk(&query.terminal) else { return Told::Nobody };
        if !desk.enabled {
            return Told::Refused("terminal_disabled");
        }
        match &query.asked {
            Asked::Reservation(id) => match self.own(desk, *id) {
                Ok(row) => Told::Shown(self.shown(row)),
                Err(refused) => Told::Refused(refused.code),
            },
            Asked::Page(page) => {
                let theirs = self.page(desk, page.after);
                let next = (theirs.len() > page.limit).then(|| theirs[page.limit - 1].id);
                let rows = theirs.into_iter().take(page.limit);
                Told::Page(rows.map(|row| self.shown(row)).collect(), next)
            }
            Asked::Availability(window) => {
                let Some(house) = self.house(&window.server) else {
                    return Told::Refused("unknown_server");
                };
                let cut = view.calendars[window].complete_until.map(micros);
                let (start, end) = (micros(window.interval.start), micros(window.interval.end));
                match cut {
                    None => self.free(house, (start, end), true),
                    Some(cut) if start < cut - house.gap => {
                        self.free(house, (start, end.min(cut - house.gap)), true)
                    }
                    Some(cut) => self.free(house, (start, end.min(cut)), false),
                }
            }
        }
    }

    fn shown(&self, row: &Row) -> Shown {
        let house = self.house(&row.server).expect("no server is ever removed");
        (row.clone(), house.url.clone())
    }

    /// The user's reservations with lower ids, the highest first.
    fn page(&self, desk: &Desk, after: Option<Uuid>) -> Vec<&Row> {
        let mut theirs: Vec<&Row> = self.rows.iter().filter(|row| row.user == desk.user).collect();
        theirs.retain(|row| after.is_none_or(|after| row.id < after));
        theirs.sort_by_key(|row| Reverse(row.id));
        theirs
    }

    /// `known`: whether enough bookings are loaded to offer anything.
    fn free(&self, house: &House, span: Span, known: bool) -> Told {
        let there = self.rows.iter().filter(|row| row.server == house.id && row.live());
        let there: Vec<Row> = there.cloned().collect();
        let closed = |at| house.closures.iter().any(|closure| closure.0 <= at && at < closure.1);
        let free = |at| match closed(at) || !known || !self.can_be_covered(house, at) {
            true => 0,
            false => {
                // Until the turn-around of one that ends right behind this tick, that instant included.
                let behind = (at, at + house.gap + 1);
                house.capacity - deepest(&there, &house.id, behind, self.tick)
            }
        };
        let places = ticks(span, self.tick).map(free).collect();
        Told::Free { server: house.id.clone(), span, places, starts: self.starts(house) }
    }

    fn can_start(&self, house: &House, at: i64) -> bool {
        let in_time = house.confirms_late || self.now < at - house.lead;
        let ahead = self.now < at && at - self.now <= house.horizon;
        house.open && at % house.slot == 0 && ahead && in_time
    }

    /// Whether a reservation of the longest kind that starts in time lasts until behind `at`.
    fn can_be_covered(&self, house: &House, at: i64) -> bool {
        ticks((at - house.max + self.tick, at + self.tick), self.tick)
            .any(|start| self.can_start(house, start))
    }

    fn starts(&self, house: &House) -> Option<Span> {
        let first = self.now.div_euclid(house.slot) * house.slot;
        let until = self.now + house.horizon + 1;
        let mut starts = ticks((first, until), house.slot).filter(|at| self.can_start(house, *at));
        let first = starts.next()?;
        Some((first, starts.last().unwrap_or(first)))
    }
}

fn note(query: &Query, view: &View, expected: &Told, tally: &mut Tally) {
    let word = match expected {
        Told::Nobody => "unknown_terminal",
        Told::Refused(code) => {
            tally.note(code);
            "refused"
        }
        Told::Shown(_) => "shown",
        Told::Page(rows, next) => {
            tally.note_if(next.is_some(), "edge: a page with another one behind it");
            let behind = matches!(&query.asked, Asked::Page(page) if page.after.is_some());
            tally.note_if(behind && !rows.is_empty(), "edge: a page behind another one");
            "listed"
        }
        Told::Free { places, .. } => {
            let cut = view.calendars.values().any(|calendar| calendar.complete_until.is_some());
            tally.note_if(cut, "edge: more is booked than a query loads");
            tally.note_if(places.contains(&0), "edge: no place is free for a while");
            "free places"
        }
    };
    tally.listed("query", word);
}

fn told(truth: &Truth, outcome: QueryOutcome) -> Result<Told, String> {
    let shown = |listed: &Listed| (heard::row(&listed.reservation), listed.connection_url.clone());
    match outcome {
        QueryOutcome::UnknownTerminal => Ok(Told::Nobody),
        QueryOutcome::Refused(refusal) => {
            same("field of a query's refusal", &None, &refusal.field)?;
            Ok(Told::Refused(refusal.code.as_str()))
        }
        QueryOutcome::Found(found) => match *found {
            Found::Reservation(listed) => Ok(Told::Shown(shown(&listed))),
            Found::Page { page, next } => Ok(Told::Page(page.iter().map(shown).collect(), next)),
            Found::Availability(free) => by_tick(truth, &free),
        },
    }
}

/// Takes the spans apart. They are in order, without gaps, and neighbours differ.
fn by_tick(truth: &Truth, availability: &Availability) -> Result<Told, String> {
    let Availability { server, window, free, starts } = availability;
    let starts = starts.map(|starts| (micros(starts.from), micros(starts.until)));
    let span = (micros(window.start), micros(window.end));
    let mut places = Vec::new();
    let mut at = span.0;
    for part in free {
        same("free places without gaps", &at, &micros(part.interval.start))?;
        same("neighbours alike", &false, &(places.last() == Some(&part.places)))?;
        let until = micros(part.interval.end);
        places.extend(ticks((at, until), truth.tick).map(|_| part.places));
        at = until;
    }
    same("end of what is told", &span.1, &at)?;
    Ok(Told::Free { server: server.id.clone(), span, places, starts })
}
