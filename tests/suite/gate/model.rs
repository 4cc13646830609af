//! Admission against a naive model: whole seconds, plain lists, and every rule written down once more.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::domain::admission::admit::{Ask, Decision, admit};
use holdfast::domain::admission::cut::to_cut;
use holdfast::domain::admission::live::{Client, Live, Role};
use holdfast::domain::admission::plan::{Entry, KeyHash, Plan};
use holdfast::domain::interval::Interval;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

const SEQUENCES: u64 = 400;
const STEPS: usize = 120;
const RESERVATIONS: usize = 5;

/// A reservation of the model.
struct Booked {
    start: i64,
    end: i64,
    cancelled: bool,
    /// Changes when the key is replaced.
    key: usize,
}

/// A client of the model.
#[derive(Clone)]
struct Guest {
    id: String,
    publishes: bool,
    /// A reservation's number, or a name that is none.
    name: usize,
    /// What a publisher came with, if the gate knows.
    key: Option<usize>,
    since: i64,
}

struct World {
    now: i64,
    booked: Vec<Booked>,
    capacity: usize,
    viewers_max: Option<usize>,
    early: i64,
    gap: i64,
    guests: Vec<Guest>,
    taken_over: Vec<Option<i64>>,
    clients: usize,
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + second, 0).unwrap()
}

fn id(number: usize) -> Uuid {
    Uuid::from_u128(number as u128 + 1)
}

fn key(number: usize, key: usize) -> KeyHash {
    KeyHash::of(&format!("{number}/{key}"))
}

impl World {
    fn new(rng: &mut StdRng) -> Self {
        let booked = (0..RESERVATIONS).map(|_| {
            let start = rng.random_range(0..60);
            Booked { start, end: start + rng.random_range(1..30), cancelled: false, key: 0 }
        });
        Self {
            now: 0,
            booked: booked.collect(),
            capacity: rng.random_range(1..4),
            viewers_max: rng.random_bool(0.7).then(|| rng.random_range(1..3)),
            early: rng.random_range(0..10),
            gap: rng.random_range(0..10),
            guests: Vec::new(),
            taken_over: vec![None; RESERVATIONS],
            clients: 0,
        }
    }

    fn plan(&self) -> Plan {
        let entries = self.booked.iter().enumerate().map(|(number, booked)| Entry {
            reservation: id(number),
            window: Interval::new(at(booked.start), at(booked.end)).unwrap(),
            cancelled: booked.cancelled,
            key: key(number, booked.key),
            capacity: self.capacity,
            viewers_max: self.viewers_max,
            early_seconds: self.early,
            gap_seconds: self.gap,
        });
        Plan::new(at(self.now), entries)
    }

    fn running(&self, number: usize) -> bool {
        let booked = &self.booked[number];
        !booked.cancelled && (booked.start..booked.end).contains(&self.now)
    }

    /// Whether it takes a place of those who come early.
    fn takes_place(&self, number: usize) -> bool {
        let sends = self.guests.iter().any(|guest| guest.publishes && guest.name == number);
        let booked = &self.booked[number];
        self.running(number) || (sends && !booked.cancelled && self.now < booked.end)
    }

    fn grace(&self) -> i64 {
        if self.early > self.gap { 0 } else { self.early }
    }

    /// The word for a publisher with the key of a reservation.
    fn publish(&self, number: usize, given: usize) -> &'static str {
        let booked = &self.booked[number];
        if given != booked.key {
            return "unknown_key";
        }
        if booked.cancelled {
            return "cancelled";
        }
        if self.now >= booked.end {
            return "over";
        }
        if self.now < booked.start {
            let taken = (0..RESERVATIONS).filter(|n| *n != number && self.takes_place(*n)).count();
            if self.now < booked.start - self.grace() || taken >= self.capacity {
                return "too_early";
            }
        }
        let live = self.guests.iter().any(|guest| guest.publishes && guest.name == number);
        match self.taken_over[number] {
            Some(then) if live && self.now - then < 5 => "busy",
            _ => "admitted",
        }
    }

    fn view(&self, number: usize) -> &'static str {
        let booked = &self.booked[number];
        let viewers = self.guests.iter().filter(|guest| !guest.publishes && guest.name == number);
        match () {
            () if booked.cancelled => "cancelled",
            () if self.now >= booked.end => "over",
            () if self.now < booked.start => "too_early",
            () if self.viewers_max.is_some_and(|max| viewers.count() >= max) => "full",
            () => "admitted",
        }
    }

    /// Whether a guest must go.
    fn goes(&self, index: usize) -> bool {
        let guest = &self.guests[index];
        if guest.name >= RESERVATIONS {
            // Nobody may be disconnected by a plan that is older than the client.
            return self.now > guest.since;
        }
        let booked = &self.booked[guest.name];
        if booked.cancelled || self.now >= booked.end {
            return true;
        }
        if !guest.publishes {
            let before = self.guests[..index].iter();
            let before =
                before.filter(|other| !other.publishes && other.name == guest.name).count();
            return self.now < booked.start || self.viewers_max.is_some_and(|max| before >= max);
        }
        if guest.key.is_some_and(|given| given != booked.key) {
            return true;
        }
        let order = |n: usize| (self.booked[n].start, n);
        let first = |n: &usize| order(*n) < order(guest.name) && self.takes_place(*n);
        self.now < booked.start
            && (self.now < booked.start - self.grace()
                || (0..RESERVATIONS).filter(first).count() >= self.capacity)
    }

    /// Who must be gone before a publisher of a reservation comes.
    fn replaced(&self, number: usize) -> BTreeSet<String> {
        let others = |guest: &&Guest| guest.publishes && guest.name != number;
        let crowded = self.guests.iter().filter(others).count() >= self.capacity;
        let goes = |index: &usize| {
            let guest = &self.guests[*index];
            guest.publishes && (guest.name == number || (crowded && self.goes(*index)))
        };
        (0..self.guests.len()).filter(goes).map(|index| self.guests[index].id.clone()).collect()
    }

    fn client(&self, guest: &Guest) -> Client {
        let known = guest.name < RESERVATIONS;
        Client {
            role: if guest.publishes { Role::Publisher } else { Role::Viewer },
            stream: if known { id(guest.name).to_string() } else { "strange".to_owned() },
            id: guest.id.clone(),
            place: String::new(),
        }
    }
}

fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Admit(_) => "admitted",
        Decision::Deny { code, .. } => (*code).into(),
        Decision::Unknown => "unknown",
    }
}

/// A client asks; both must say the same, and both let it in or not.
fn ask(world: &mut World, live: &mut Live, rng: &mut StdRng) {
    world.clients += 1;
    let client = world.clients.to_string();
    let number = rng.random_range(0..RESERVATIONS);
    let given = rng.random_range(0..=world.booked[number].key);
    let publishes = rng.random_bool(0.6);
    let asked = if publishes {
        let under = rng.random_bool(0.5).then(|| id(number));
        Ask::Publish { key: key(number, given), under, client: Some(client.clone()) }
    } else {
        Ask::View { stream: Some(id(number)), client: Some(client.clone()) }
    };
    let now = at(world.now);
    let decision = admit(now, Some(&world.plan()), TimeDelta::seconds(60), live, &asked);
    let expected = if publishes { world.publish(number, given) } else { world.view(number) };
    assert_eq!(word(&decision), expected, "{asked:?} at {}", world.now);
    let Decision::Admit(admission) = decision else { return };
    let first: BTreeSet<String> =
        admission.first.iter().map(|(session, _)| session.client.id.clone()).collect();
    let replaced = if publishes { world.replaced(number) } else { BTreeSet::new() };
    assert_eq!(first, replaced, "who must go first");
    let took =
        world.guests.iter().any(|guest| guest.publishes && publishes && guest.name == number);
    assert_eq!(admission.takes_over, took);
    for (session, _) in &admission.first {
        live.remove(session.serial);
    }
    world.guests.retain(|guest| !replaced.contains(&guest.id));
    if took {
        live.take_over(now, id(number));
        world.taken_over[number] = Some(world.now);
    }
    let key = publishes.then_some(given);
    let guest = Guest { id: client, publishes, name: number, key, since: world.now };
    live.admitted(now, world.client(&guest), admission.key);
    world.guests.push(guest);
}

fn change(world: &mut World, live: &mut Live, rng: &mut StdRng) {
    let number = rng.random_range(0..RESERVATIONS);
    match rng.random_range(0..12) {
        0 => world.booked[number].cancelled = true,
        1 => world.booked[number].key += 1,
        2 => world.booked[number].end += rng.random_range(1..10),
        3 => world.capacity = rng.random_range(1..4),
        // Past the hooks.
        4 => {
            world.clients += 1;
            let name = rng.random_range(0..=RESERVATIONS);
            let publishes = rng.random_bool(0.5);
            let key = (publishes && name < RESERVATIONS).then(|| world.booked[name].key);
            let id = world.clients.to_string();
            world.guests.push(Guest { id, publishes, name, key, since: world.now });
        }
        5 | 6 if !world.guests.is_empty() => {
            let index = rng.random_range(0..world.guests.len());
            let guest = world.guests.remove(index);
            let role = world.client(&guest).role;
            // Its end is reported, or only the list shows it.
            if rng.random_bool(0.5) {
                live.ended(at(world.now), role, &guest.id, None);
            }
        }
        _ => world.now += rng.random_range(0..4),
    }
}

/// The server lists who is there, and both must find the same who must go.
fn list(world: &mut World, live: &mut Live) {
    let clients: Vec<Client> = world.guests.iter().map(|guest| world.client(guest)).collect();
    let plan = world.plan();
    live.listed(at(world.now), Some(&plan), &clients);
    // A client that was admitted a moment ago may be missing on the list, and still be known.
    let known: BTreeSet<&str> =
        live.sessions().iter().map(|session| session.client.id.as_str()).collect();
    if known.len() != world.guests.len() {
        return;
    }
    let cut: BTreeSet<String> = to_cut(at(world.now), Some(&plan), live)
        .into_iter()
        .map(|(session, _)| session.client.id)
        .collect();
    let expected: BTreeSet<String> = (0..world.guests.len())
        .filter(|index| world.goes(*index))
        .map(|index| world.guests[index].id.clone())
        .collect();
    assert_eq!(cut, expected, "at {}", world.now);
    world.guests.retain(|guest| !cut.contains(&guest.id));
    live.listed(
        at(world.now),
        Some(&plan),
        &world.guests.iter().map(|g| world.client(g)).collect::<Vec<_>>(),
    );
}

#[test]
fn random_sequences_agree_with_the_model() {
    for seed in 0..SEQUENCES {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut world, mut live) = (World::new(&mut rng), Live::default());
        for _ in 0..STEPS {
            match rng.random_range(0..3) {
                0 => ask(&mut world, &mut live, &mut rng),
                1 => change(&mut world, &mut live, &mut rng),
                _ => {}
            }
            list(&mut world, &mut live);
        }
    }
}

#[test]
fn a_gate_without_a_fresh_plan_does_not_know() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut world = World::new(&mut rng);
    let (plan, live) = (world.plan(), Live::default());
    let asked = Ask::View { stream: Some(id(0)), client: None };
    let decide =
        |world: &World, plan| admit(at(world.now), plan, TimeDelta::seconds(60), &live, &asked);
    assert_eq!(decide(&world, None), Decision::Unknown);
    world.now = 60;
    assert_ne!(decide(&world, Some(&plan)), Decision::Unknown);
    world.now = 61;
    assert_eq!(decide(&world, Some(&plan)), Decision::Unknown);
    assert_eq!(to_cut(at(world.now), None, &live), []);
}
