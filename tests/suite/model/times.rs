//! Invents the times that requests ask for: near everything they could collide with.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::truth::{House, Row, Span, Truth};

/// A span to ask `house` for.
pub fn wanted(rng: &mut StdRng, truth: &Truth, house: &House) -> Span {
    let tick = truth.tick;
    let length = length(rng, house, tick);
    let mut start = start(rng, truth, house, length);
    if rng.random_bool(0.96) {
        start = start.div_euclid(house.slot) * house.slot;
    } else {
        start = start.div_euclid(tick) * tick;
    }
    let mut span = (start, start + length);
    match rng.random_range(0..100) {
        0 => span.1 += 1,
        1 => span.0 += 1_000,
        _ => {}
    }
    if span.0 >= span.1 {
        span.1 = span.0 + tick;
    }
    span
}

fn length(rng: &mut StdRng, house: &House, tick: i64) -> i64 {
    let slots = rng.random_range(house.min / house.slot..=house.max / house.slot);
    match rng.random_range(0..100) {
        0..4 => house.min - tick,
        4..8 => house.max + tick,
        8..10 => house.max + house.slot,
        10..20 => house.max / house.slot * house.slot,
        _ => (slots * house.slot).max(house.slot),
    }
}

fn start(rng: &mut StdRng, truth: &Truth, house: &House, length: i64) -> i64 {
    let tick = truth.tick;
    let near = rng.random_range(-1..=1) * tick;
    let now = truth.now;
    match rng.random_range(0..100) {
        0..40 => beside_another(rng, truth, house, length),
        40..50 => now + house.lead + near,
        50..65 => {
            let next = truth.periods.iter().find(|period| period.1 > now);
            next.map_or(now, |period| period.1 - rng.random_range(0..=length))
        }
        65..70 => now + house.horizon + near,
        70..74 => now + near,
        74..80 if !house.closures.is_empty() => {
            let closure = house.closures.choose(rng).expect("not empty");
            *[closure.0 - length, closure.1, closure.1 - tick].choose(rng).expect("not empty")
        }
        _ => now + house.lead + rng.random_range(0..=house.horizon - house.lead),
    }
}

/// A start that touches, crosses or just misses one of the latest reservations of the server.
fn beside_another(rng: &mut StdRng, truth: &Truth, house: &House, length: i64) -> i64 {
    let latest: Vec<&Row> = truth
        .rows
        .iter()
        .rev()
        .filter(|row| row.server == house.id && row.start > truth.now)
        .take(12)
        .collect();
    let Some(other) = latest.choose(rng) else {
        return truth.now + house.lead + rng.random_range(1..=4) * truth.tick;
    };
    let starts = [
        other.busy_until,
        other.busy_until,
        other.end,
        other.busy_until - truth.tick,
        other.start,
        other.start - length,
        other.start - house.gap - length,
        other.start - house.gap - length,
        other.start - house.gap - length + truth.tick,
    ];
    *starts.choose(rng).expect("not empty")
}
