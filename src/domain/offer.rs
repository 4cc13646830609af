//! What a server offers (R13): exactly what a request would get from it.
//!
//! A request is judged at each instant of its interval and of the turn-around behind it. An offer has
//! the turn-around taken off already, so a terminal only compares its interval. See
//! `docs/decisions/0033-what-is-offered-is-accepted.md`.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::capacity::depths;
use super::interval::{Interval, Timestamp};
use super::server::{LateBooking, Server};

/// A part of a window with a constant number of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpan {
    /// Its bounds.
    pub interval: Interval,
    /// Reservations that fit throughout, each with the turn-around behind it.
    pub places: usize,
}

/// When a reservation can start, both ends included. They lie on the server's slot grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starts {
    /// Earliest.
    pub from: Timestamp,
    /// Latest.
    pub until: Timestamp,
}

impl Starts {
    /// `None` if no request can be accepted at `now`, whatever its interval.
    pub fn of(server: &Server, now: Timestamp) -> Option<Self> {
        let after = match server.late_booking {
            LateBooking::Confirm => now,
            LateBooking::Reject => now + TimeDelta::seconds(server.lead_seconds),
        };
        let last = now + TimeDelta::seconds(server.horizon_seconds);
        let slot = |at: Timestamp| at.timestamp().div_euclid(server.slot_seconds);
        let start = |slot: i64| Timestamp::from_timestamp(slot * server.slot_seconds, 0);
        let (from, until) = (start(slot(after) + 1)?, start(slot(last))?);
        (server.open && from <= until).then_some(Self { from, until })
    }
}

/// What happens to the offer at an instant.
enum Edge {
    /// So many reservations overlap at an instant from here to the end of the turn-around.
    Enter(usize),
    /// No longer.
    Leave(usize),
    /// Nothing is offered.
    Block,
    /// No longer.
    Unblock,
}

/// The places of a server over `window`: in time order, without gaps, neighbours differ.
///
/// `busy` are the live reservations that overlap the window or the turn-around behind it.
pub fn places(
    server: &Server,
    starts: Option<Starts>,
    window: &Interval,
    busy: &[Interval],
) -> Vec<FreeSpan> {
    let mut edges = edges(server, starts, window, busy);
    edges.sort_by_key(|(at, _)| *at);
    let mut spans: Vec<FreeSpan> = Vec::new();
    let mut overlapping: BTreeMap<usize, usize> = BTreeMap::new();
    let mut blocks = 0_usize;
    let mut at = window.start;
    for (next, edge) in edges {
        let until = next.min(window.end);
        let peak = overlapping.last_key_value().map_or(0, |(depth, _)| *depth);
        let places = if blocks > 0 { 0 } else { server.capacity.saturating_sub(peak) };
        push(&mut spans, Interval::new(at, until), places);
        at = at.max(until);
        match edge {
            Edge::Enter(depth) => *overlapping.entry(depth).or_default() += 1,
            Edge::Leave(depth) => {
                let count = overlapping.get_mut(&depth).expect("it has entered");
                *count -= 1;
                if *count == 0 {
                    overlapping.remove(&depth);
                }
            }
            Edge::Block => blocks += 1,
            Edge::Unblock => blocks -= 1,
        }
    }
    spans
}

/// In no order. An edge of the same instant may stand before or behind another, but for one that ends
/// what the other begins.
fn edges(
    server: &Server,
    starts: Option<Starts>,
    window: &Interval,
    busy: &[Interval],
) -> Vec<(Timestamp, Edge)> {
    let gap = TimeDelta::seconds(server.gap_seconds);
    let mut edges = Vec::new();
    for (during, depth) in depths(busy) {
        edges.push((during.start - gap, Edge::Enter(depth)));
        edges.push((during.end, Edge::Leave(depth)));
    }
    for closure in &server.closures {
        edges.push((closure.start, Edge::Block));
        edges.push((closure.end, Edge::Unblock));
    }
    // What no reservation can cover that starts in time.
    edges.push((window.start, Edge::Block));
    if let Some(Starts { from, until }) = starts {
        let end = until + TimeDelta::seconds(server.max_seconds);
        edges.push((from.max(window.start), Edge::Unblock));
        edges.push((end.max(window.start), Edge::Block));
    }
    edges.push((window.end, Edge::Block));
    edges
}

fn push(spans: &mut Vec<FreeSpan>, interval: Option<Interval>, places: usize) {
    let Some(interval) = interval else { return };
    match spans.last_mut() {
        Some(last) if last.places == places => last.interval.end = interval.end,
        _ => spans.push(FreeSpan { interval, places }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tariff::Tariff;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn span(start: i64, end: i64) -> Interval {
        Interval::new(at(start), at(end)).unwrap()
    }

    fn server(gap_seconds: i64) -> Server {
        Server {
            id: "cam".parse().unwrap(),
            capacity: 2,
            open: true,
            tariff: Tariff { rate_minor: 1, currency: "EUR".to_owned(), version: 1 },
            slot_seconds: 5,
            min_seconds: 5,
            max_seconds: 50,
            gap_seconds,
            lead_seconds: 20,
            reminder_seconds: 0,
            horizon_seconds: 1_000,
            late_booking: LateBooking::Reject,
            connection_url: String::new(),
            view_url: None,
            partition: 0,
            closures: vec![span(60, 70)],
        }
    }

    fn told(server: &Server, window: Interval, busy: &[Interval]) -> Vec<(i64, i64, usize)> {
        places(server, Starts::of(server, at(-100)), &window, busy)
            .iter()
            .map(|s| (s.interval.start.timestamp(), s.interval.end.timestamp(), s.places))
            .collect()
    }

    #[test]
    fn places_are_told_over_time() {
        let busy = [span(0, 20), span(10, 30), span(20, 40), span(90, 120)];
        // At 20 one ends and another begins. Nothing is free during maintenance.
        let expected = [
            (5, 10, 1),
            (10, 30, 0),
            (30, 40, 1),
            (40, 60, 2),
            (60, 70, 0),
            (70, 90, 2),
            (90, 100, 1),
        ];
        assert_eq!(told(&server(0), span(5, 100), &busy), expected);
        assert_eq!(told(&server(0), span(41, 50), &busy), [(41, 50, 2)]);
    }

    /// The turn-around behind a new reservation needs a place, and may lie in a closure.
    #[test]
    fn the_turn_around_is_taken_off() {
        let busy = [span(10, 20), span(25, 40), span(90, 120)];
        // The first two do not overlap, though both lie within one turn-around.
        let expected = [(0, 40, 1), (40, 60, 2), (60, 70, 0), (70, 80, 2), (80, 100, 1)];
        assert_eq!(told(&server(10), span(0, 100), &busy), expected);
    }

    #[test]
    fn nothing_is_offered_that_cannot_start_in_time() {
        let mut server = server(0);
        let offered = |server: &Server, now: i64| {
            let starts = Starts::of(server, at(now));
            let first = places(server, starts, &span(0, 50), &[]);
            (starts.map(|s| (s.from.timestamp(), s.until.timestamp())), first[0])
        };
        // The deadline must lie ahead, so the start is later than 20 s from now.
        let (starts, first) = offered(&server, 0);
        assert_eq!(starts, Some((25, 1_000)));
        assert_eq!(first, FreeSpan { interval: span(0, 25), places: 0 });
        server.late_booking = LateBooking::Confirm;
        assert_eq!(offered(&server, 4).0, Some((5, 1_000)));
        assert_eq!(offered(&server, 5).0, Some((10, 1_005)));
        server.horizon_seconds = 3;
        assert_eq!(offered(&server, 0).0, None);
        server.horizon_seconds = 1_000;
        server.open = false;
        let (starts, first) = offered(&server, 0);
        assert_eq!((starts, first.places), (None, 0));
    }
}
