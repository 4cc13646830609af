//! What is offered is what is accepted (R13): the answer to `availability` against the decisions about every
//! interval, minute by minute.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::client::Command as Sent;
use holdfast::domain::decide::decide;
use holdfast::domain::id::{TerminalId, UserId};
use holdfast::domain::input::{Action, Command, Input};
use holdfast::domain::interval::Interval;
use holdfast::domain::outcome::{CommandOutcome, Decision, Outcome};
use holdfast::domain::query::{Asked, Calendar, Query, QueryOutcome, View, Window, answer};
use holdfast::domain::quota::QuotaLedger;
use holdfast::domain::server::{LateBooking, Server};
use holdfast::domain::snapshot::{Booked, HoldUse, Snapshot, Terminal};
use holdfast::domain::tariff::Tariff;
use holdfast::message::answer::Answer;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::support::stack::Stack;
use crate::support::terminal::{Terminal as Client, code, in_seconds, new_id};

/// Random servers, each with its closures and reservations.
const SERVERS: u64 = 150;

/// Minutes of the window that is asked for.
const WINDOW: i64 = 45;

/// Minutes ahead of the window and behind it in which reservations and closures lie.
const AROUND: i64 = 30;

fn minute(minutes: i64) -> DateTime<Utc> {
    let base: DateTime<Utc> = "2031-05-01T12:00:00Z".parse().expect("an instant");
    base + TimeDelta::minutes(minutes)
}

fn span(start: i64, end: i64) -> Interval {
    Interval::new(minute(start), minute(end)).expect("an interval")
}

fn some_span(rng: &mut StdRng, longest: i64) -> Interval {
    let start = rng.random_range(-AROUND..WINDOW + AROUND);
    span(start, start + rng.random_range(1..=longest))
}

fn server(rng: &mut StdRng) -> Server {
    let mut minutes = |choices: &[i64]| 60 * choices.choose(rng).expect("some");
    let (slot_seconds, min_seconds) = (minutes(&[1, 1, 2, 5]), minutes(&[1, 1, 3, 10]));
    let max_seconds = minutes(&[10, 15, 60]);
    let (gap_seconds, lead_seconds) = (minutes(&[0, 1, 5, 12]), minutes(&[0, 5, 20]));
    let horizon_seconds = minutes(&[3, 20, 200]);
    Server {
        id: "cam".parse().expect("an id"),
        capacity: rng.random_range(1..=3),
        open: rng.random_bool(0.95),
        tariff: Tariff { rate_minor: 1, currency: "EUR".to_owned(), version: 1 },
        slot_seconds,
        min_seconds,
        max_seconds,
        gap_seconds,
        lead_seconds,
        reminder_seconds: 0,
        horizon_seconds,
        late_booking: *[LateBooking::Reject, LateBooking::Confirm].choose(rng).expect("some"),
        connection_url: String::new(),
        view_url: None,
        partition: 0,
        closures: (0..rng.random_range(0..3)).map(|_| some_span(rng, 10)).collect(),
    }
}

/// One user and one server, without limits for the user.
fn snapshot(rng: &mut StdRng, server: Server) -> Snapshot {
    let (terminal, user) = ("t-1".parse::<TerminalId>().unwrap(), "u-1".parse::<UserId>().unwrap());
    // Now and then between two seconds.
    let now = minute(rng.random_range(-40..10)) + TimeDelta::milliseconds(rng.random_range(0..2));
    Snapshot {
        now,
        partition: Some(0),
        terminals: HashMap::from([(terminal, Terminal { user: user.clone(), enabled: true })]),
        servers: HashMap::from([(server.id.clone(), server)]),
        quota: QuotaLedger::default(),
        holds: HashMap::from([(user, HoldUse { count: 0, max: 1_000 })]),
        booked: HashMap::new(),
        reservations: HashMap::new(),
        due: Vec::new(),
        due_complete_before: None,
        to_remind: Vec::new(),
        moves: HashMap::new(),
        known: HashMap::new(),
    }
}

/// Adds reservations with turn-arounds of their own, as long as there is room.
fn book(rng: &mut StdRng, snapshot: &mut Snapshot) {
    let (id, capacity) =
        snapshot.servers.iter().map(|(id, s)| (id.clone(), s.capacity)).next().unwrap();
    let booked = snapshot.booked.entry(id).or_default();
    for _ in 0..rng.random_range(0..12) {
        let busy = some_span(rng, 25);
        let depth = |at: i64| {
            let at = minute(at);
            booked.iter().filter(|other| other.busy.start <= at && at < other.busy.end).count()
        };
        let full = (-AROUND..WINDOW + 2 * AROUND)
            .filter(|at| busy.start <= minute(*at) && minute(*at) < busy.end)
            .any(|at| depth(at) >= capacity);
        if !full {
            booked.push(Booked { id: Uuid::from_u128(rng.random()), busy });
        }
    }
}

fn accepted(snapshot: &Snapshot, interval: Interval) -> bool {
    let command = Command {
        terminal: "t-1".parse().unwrap(),
        message_id: "m".to_owned(),
        digest: [0; 32],
        server: "cam".parse().unwrap(),
        action: Action::Request(interval),
        trace: None,
    };
    let input = Input::Command(command);
    let decided = decide(snapshot.clone(), [(&input, ())]);
    match &decided.outcomes[0].0 {
        Outcome::Command(_, CommandOutcome::Decided { decision, .. }) => {
            matches!(**decision, Decision::Accepted { .. })
        }
        other => panic!("{other:?}"),
    }
}

/// The answer on the wire.
fn availability(snapshot: &Snapshot, window: Interval) -> Answer {
    let (id, server) = snapshot.servers.iter().next().unwrap();
    let asked = Window { server: id.clone(), interval: window };
    let reach = window.with_gap(server.gap_seconds);
    let booked = snapshot.booked[id].iter().map(|booked| booked.busy);
    let closures = server.closures.iter().filter(|closure| closure.overlaps(&window));
    let calendar = Calendar {
        server: Server { closures: closures.copied().collect(), ..server.clone() },
        busy: booked.filter(|busy| busy.overlaps(&reach)).collect(),
        complete_until: None,
    };
    let view = View {
        now: snapshot.now,
        as_of: snapshot.now,
        terminals: snapshot.terminals.clone(),
        reservations: HashMap::new(),
        pages: HashMap::new(),
        calendars: HashMap::from([(asked.clone(), calendar)]),
    };
    let query = Query {
        terminal: "t-1".parse().unwrap(),
        message_id: "q".to_owned(),
        asked: Asked::Availability(asked),
    };
    match answer(&view, &query) {
        QueryOutcome::Found(found) => Answer::to_query(&found, view.now, view.as_of),
        other => panic!("{other:?}"),
    }
}

/// What a terminal concludes from an answer, and from nothing else.
fn offered(answer: &Answer, start: DateTime<Utc>, end: DateTime<Utc>) -> bool {
    let Answer::Availability { server, free, start_from, start_until, .. } = answer else {
        panic!("{answer:?}")
    };
    let (Some(from), Some(until)) = (start_from, start_until) else { return false };
    let seconds = (end - start).num_seconds();
    let on_grid = [start, end].iter().all(|at| at.timestamp() % server.slot_seconds == 0);
    let fits = free
        .iter()
        .filter(|part| part.start_at < end && start < part.end_at)
        .all(|part| part.places >= 1);
    on_grid
        && fits
        && (server.min_seconds..=server.max_seconds).contains(&seconds)
        && (*from..=*until).contains(&start)
}

#[test]
fn what_is_offered_is_what_is_accepted_minute_by_minute() {
    let (mut yes, mut no, mut behind_a_closure) = (0, 0, 0);
    for seed in 0..SERVERS {
        let mut rng = StdRng::seed_from_u64(seed);
        let server = server(&mut rng);
        let mut snapshot = snapshot(&mut rng, server);
        book(&mut rng, &mut snapshot);
        let answer = availability(&snapshot, span(0, WINDOW));
        for start in 0..WINDOW {
            for end in start + 1..=WINDOW {
                let accepted = accepted(&snapshot, span(start, end));
                let offered = offered(&answer, minute(start), minute(end));
                assert_eq!(
                    offered, accepted,
                    "seed {seed}: minutes {start} to {end}\n{answer:?}\n{:?}\n{:?}",
                    snapshot.servers, snapshot.booked
                );
                if accepted {
                    let server = snapshot.servers.values().next().unwrap();
                    let busy = span(start, end).with_gap(server.gap_seconds);
                    behind_a_closure +=
                        usize::from(server.closures.iter().any(|closure| closure.overlaps(&busy)));
                    yes += 1;
                } else {
                    no += 1;
                }
            }
        }
    }
    assert!(yes > 5_000 && no > 5_000 && behind_a_closure > 100, "{yes} {no} {behind_a_closure}");
}

/// So many fit as are told, and not one more.
#[test]
fn as_many_are_accepted_as_there_are_places() {
    let mut seen = 0;
    for seed in 0..SERVERS {
        let mut rng = StdRng::seed_from_u64(seed);
        let server = server(&mut rng);
        let gap = server.gap_seconds;
        let mut snapshot = snapshot(&mut rng, server);
        book(&mut rng, &mut snapshot);
        let answer = availability(&snapshot, span(0, WINDOW));
        let wanted = (0..50).map(|_| some_span(&mut rng, 15)).find(|wanted| {
            let inside = wanted.start >= minute(0) && wanted.end <= minute(WINDOW);
            inside && offered(&answer, wanted.start, wanted.end)
        });
        let Some(wanted) = wanted else { continue };
        let Answer::Availability { free, .. } = &answer else { panic!("{answer:?}") };
        let through =
            free.iter().filter(|part| part.start_at < wanted.end && wanted.start < part.end_at);
        let places = through.map(|part| part.places).min().expect("a part");
        for _ in 0..places {
            assert!(accepted(&snapshot, wanted), "seed {seed}");
            let booked = Booked { id: Uuid::from_u128(rng.random()), busy: wanted.with_gap(gap) };
            snapshot.booked.values_mut().for_each(|all| all.push(booked));
        }
        assert!(!accepted(&snapshot, wanted), "seed {seed}");
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

async fn ask(client: &mut Client, start: DateTime<Utc>, end: DateTime<Utc>) -> Answer {
    client.ask(&Sent::availability(new_id(), "cam", start, end)).await
}

/// The same through broker and database: each interval is asked for, and then given back.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_offers_it_accepts() {
    let mut stack = Stack::new().await;
    let columns =
        [("gap_seconds", &120 as _), ("slot_seconds", &60 as _), ("max_seconds", &300 as _)];
    let server = stack.server("cam", &columns).await;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let base = in_seconds(7_200);
    let base = base - TimeDelta::seconds(base.timestamp().rem_euclid(60));
    let at = |minutes| base + TimeDelta::minutes(minutes);
    // Behind the window, so that only a turn-around reaches it.
    terminal.accepted(&server, (at(12), at(14))).await;
    let closure = "insert into closures (server_id, start_at, end_at) values ('cam', $1, $2)";
    stack.execute(closure, &[&at(4), &at(6)]).await;
    let answer = ask(&mut terminal, at(0), at(11)).await;
    let (mut yes, mut no) = (0, 0);
    for start in 0..11 {
        for end in start + 1..=11.min(start + 6) {
            let wanted = (at(start), at(end));
            let offered = offered(&answer, wanted.0, wanted.1);
            let told = terminal.request(&server, wanted).await;
            assert_eq!(offered, code(&told).is_none(), "{start} to {end}: {told:?}\n{answer:?}");
            if let Answer::Accepted { reservation, .. } = told {
                terminal.withdraw(&server, reservation.id).await;
                yes += 1;
            } else {
                no += 1;
            }
        }
    }
    // The last minute is taken by turn-arounds, and those of the first four may lie in the closure.
    assert!(offered(&answer, at(3), at(4)) && !offered(&answer, at(10), at(11)));
    assert!(yes > 10 && no > 10, "{yes} {no}");
    stack.finish().await;
}
