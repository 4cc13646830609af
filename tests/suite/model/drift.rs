//! What happens between batches: time passes, operators change their minds.

use holdfast::domain::id::{ServerId, TerminalId, UserId};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::calendar::Calendar;
use super::sums::{self, SECOND};
use super::truth::{Desk, HERE, House, Moving, Person, Truth};

/// Other partitions.
const ELSEWHERE: [i32; 2] = [1, 2];

/// A small world some time before an anchor of its calendar.
pub fn begin(rng: &mut StdRng, calendar: &Calendar) -> Truth {
    let tick = SECOND * [1, 60, 900, 900, 3_600, 3_600].choose(rng).unwrap();
    let anchor = *calendar.anchors.choose(rng).unwrap();
    let people: Vec<Person> = (1..=rng.random_range(2..=4))
        .map(|n| Person {
            id: UserId::parse(&format!("user-{n}")).unwrap(),
            max_holds: rng.random_range(2..=8),
            limit: rng.random_range(10..=120) * tick / SECOND,
        })
        .collect();
    let desks = (1..=people.len() + 2)
        .map(|n| Desk {
            id: TerminalId::parse(&format!("desk-{n}")).unwrap(),
            user: people[n % people.len()].id.clone(),
            enabled: true,
        })
        .collect();
    let houses = (1..=rng.random_range(1..=3)).map(|n| house(rng, n, tick)).collect();
    Truth {
        tick,
        now: anchor - rng.random_range(0..=24) * tick,
        periods: calendar.periods.clone(),
        houses,
        people,
        desks,
        rows: Vec::new(),
        memos: Default::default(),
        ids: Default::default(),
    }
}

fn house(rng: &mut StdRng, n: usize, tick: i64) -> House {
    let mut house = House {
        id: ServerId::parse(&format!("house-{n}")).unwrap(),
        capacity: rng.random_range(1..=3),
        open: true,
        rate: 0,
        currency: if n == 1 { "EUR" } else { "CHF" },
        version: 0,
        slot: tick,
        min: tick,
        max: tick,
        gap: 0,
        lead: 0,
        horizon: tick,
        confirms_late: false,
        url: format!("https://house-{n}.example"),
        closures: Vec::new(),
        partition: HERE,
        moving: None,
        came_at: None,
    };
    new_policy(rng, &mut house, tick);
    new_tariff(rng, &mut house);
    house
}

fn new_policy(rng: &mut StdRng, house: &mut House, tick: i64) {
    house.slot = tick * [1, 1, 1, 2, 3].choose(rng).unwrap();
    house.min = tick * rng.random_range(1..=3);
    house.max = (house.min + tick * rng.random_range(0..=8)).max(house.slot);
    house.gap = tick * [0, 0, 1, 2, 3].choose(rng).unwrap();
    house.lead = tick * [0, 1, 3, 5, 8].choose(rng).unwrap();
    house.horizon = house.lead + tick * rng.random_range(6..=30);
    house.confirms_late = rng.random_bool(0.5);
}

fn new_tariff(rng: &mut StdRng, house: &mut House) {
    house.version += 1;
    house.rate = match rng.random_range(0..6) {
        0 => 0,
        1 => rng.random_range(1..=9),
        2 => 1_800,
        3 => 2 * rng.random_range(0..=5_000),
        _ => rng.random_range(1..=1_000_000),
    };
}

/// Lets time pass and sometimes changes something. Gives the index of a reservation that an
/// operator cancelled.
pub fn between(rng: &mut StdRng, truth: &mut Truth) -> Option<usize> {
    pass(rng, truth);
    move_house(rng, truth);
    if rng.random_bool(0.25) {
        change_house(rng, truth);
    }
    if rng.random_bool(0.15) {
        change_person(rng, truth);
    }
    if rng.random_bool(0.06) {
        let index = rng.random_range(0..truth.desks.len());
        truth.desks[index].enabled = rng.random_bool(0.93);
    }
    let live: Vec<usize> =
        (0..truth.rows.len()).filter(|index| truth.rows[*index].live()).collect();
    if rng.random_bool(0.06) {
        let index = *live.choose(rng)?;
        truth.cancel(index, "operator");
        return Some(index);
    }
    None
}

/// The clock always moves on, often to a whole tick, where deadlines are.
fn pass(rng: &mut StdRng, truth: &mut Truth) {
    let tick = truth.tick;
    let passed = match rng.random_range(0..100) {
        0..60 => rng.random_range(1..=tick / 2),
        60..88 => rng.random_range(1..=2 * tick),
        88..98 => rng.random_range(tick..=5 * tick),
        _ => rng.random_range(5 * tick..=20 * tick),
    };
    let later = truth.now + passed;
    let whole = later.div_euclid(tick) * tick;
    truth.now = if rng.random_bool(0.6) && whole > truth.now { whole } else { later };
}

fn change_house(rng: &mut StdRng, truth: &mut Truth) {
    let index = rng.random_range(0..truth.houses.len());
    let tick = truth.tick;
    let today = truth.now.div_euclid(tick) * tick;
    let house = &mut truth.houses[index];
    match rng.random_range(0..8) {
        0 => new_policy(rng, house, tick),
        1 => new_tariff(rng, house),
        2 => house.open = rng.random_bool(0.93),
        3 => house.confirms_late = !house.confirms_late,
        4 => house.closures.clear(),
        5 => {
            let start = today + tick * rng.random_range(1..=24);
            let end = start + tick * rng.random_range(1..=6);
            house.closures.push((start, end));
        }
        _ => {
            // Never below what is booked.
            let capacity = rng.random_range(1..=3);
            let id = house.id.clone();
            let starts = truth.rows.iter().filter(|row| row.live()).map(|r| r.start);
            let peak = starts.map(|at| sums::depth(&truth.rows, &id, at)).max();
            if peak.is_none_or(|peak| peak <= capacity) {
                truth.houses[index].capacity = capacity;
            }
        }
    }
}

/// Takes a server a step further on its way to another partition, or back. What leaves waits for its
/// fence, in a batch; other partitions read the fences of what comes.
fn move_house(rng: &mut StdRng, truth: &mut Truth) {
    let index = rng.random_range(0..truth.houses.len());
    let now = truth.now;
    let house = &mut truth.houses[index];
    let settled = house.partition == HERE && house.moving.is_none();
    if !rng.random_bool(if settled { 0.02 } else { 0.5 }) {
        return;
    }
    match &mut house.moving {
        None => {
            let home = house.partition != HERE && rng.random_bool(0.8);
            let mut targets = if home { vec![HERE] } else { ELSEWHERE.to_vec() };
            targets.retain(|target| *target != house.partition);
            let to = *targets.choose(rng).expect("one is left");
            let fence = Uuid::from_u128(rng.random());
            house.moving = Some(Moving { fence, to, both: true });
        }
        // The operator gives it up.
        Some(moving) if moving.both && rng.random_bool(0.1) => house.moving = None,
        Some(moving) if moving.both => moving.both = false,
        Some(_) if house.partition == HERE => {}
        Some(moving) => {
            house.partition = moving.to;
            house.came_at = (moving.to == HERE).then_some(now);
            house.moving = None;
        }
    }
}

/// New limits, mostly a little above what is used, so that they are met exactly.
fn change_person(rng: &mut StdRng, truth: &mut Truth) {
    let index = rng.random_range(0..truth.people.len());
    if rng.random_bool(0.3) {
        truth.people[index].max_holds = rng.random_range(1..=8);
        return;
    }
    let now = truth.now;
    let mut ahead = truth.periods.iter().filter(|period| now < period.1);
    let period = ahead.nth(rng.random_range(0..=1));
    let room = *[6, 60].choose(rng).unwrap();
    let user = &truth.people[index].id;
    let used = period.map_or(0, |period| sums::used(&truth.rows, user, *period, truth.tick));
    let more = rng.random_range(0..=room) * truth.tick / SECOND;
    truth.people[index].limit = used + more;
}
