//! `decide` against an independent and deliberately naive model of the rules.
//!
//! The model keeps every reservation ever in a flat list, judges capacity and quota by looking at
//! each tick of time, and knows nothing of what a batch has loaded. It lives through many batches;
//! for each one the snapshot that `decide` needs is loaded from it, only as far as the batch touches
//! it. Outcomes, answers, rows, transitions and changes must then be the same, and the promises
//! about overbooking, quota and billing must hold. Servers leave for other partitions and come back.
//! Between batches a query is answered by both.
//!
//! `HOLDFAST_MODEL_SEED` and `HOLDFAST_MODEL_BATCHES` choose another run. A failure names the seed
//! that repeats its scenario as the first one.

mod asked;
mod audit;
mod calendar;
mod drift;
mod edges;
mod generate;
mod heard;
mod load;
mod request;
mod rules;
mod said;
mod stored;
mod sums;
mod tally;
mod target;
mod times;
mod truth;

use std::collections::HashMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use holdfast::domain::decide::decide;
use holdfast::domain::input::{Action, Input};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use audit::Auditor;
use drift::{begin, between};
use generate::Inventor;
use said::Said;
use sums::SECOND;
use tally::Tally;
use truth::{Truth, instant};
use uuid::Uuid;

const SEED: u64 = 20_260_725;
const BATCHES: u64 = 100_000;

/// Batches of one scenario, and scenarios that run side by side.
const SCENARIO: u64 = 400;
const THREADS: u64 = 2;

#[test]
fn decide_agrees_with_a_naive_model() {
    let seed = number("HOLDFAST_MODEL_SEED").unwrap_or(SEED);
    let batches = number("HOLDFAST_MODEL_BATCHES").unwrap_or(BATCHES);
    let share = batches.div_ceil(THREADS);
    let runs: Vec<_> =
        (0..THREADS).map(|first| thread::spawn(move || run(seed, first, share))).collect();
    let mut tally = Tally::default();
    for run in runs {
        match run.join().expect("a thread that reports its failures") {
            Ok(part) => tally.merge(part),
            Err(failure) => panic!("{failure}"),
        }
    }
    if batches >= BATCHES {
        tally.check(batches);
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Every other scenario, until enough batches are decided.
fn run(seed: u64, first: u64, batches: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut done = 0;
    let mut seed = seed.wrapping_add(first);
    while done < batches {
        done += scenario(seed, (batches - done).min(SCENARIO), &mut tally)?;
        seed = seed.wrapping_add(THREADS);
    }
    Ok(tally)
}

/// Many batches in one world, as far as its calendar reaches. Gives how many there were.
fn scenario(seed: u64, batches: u64, tally: &mut Tally) -> Result<u64, String> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let calendars = calendar::all();
    let calendar = calendars.choose(rng).expect("there are some");
    let mut truth = begin(rng, calendar);
    let mut inventor = Inventor::default();
    let mut auditor = Auditor::default();
    let calendar_ends = truth.periods.last().expect("there are some").1;
    let mut done = 0;
    for batch in 0..batches {
        if let Some(index) = between(rng, &mut truth) {
            auditor.operator_cancelled(truth.rows[index].id);
        }
        if truth.now + 60 * truth.tick > calendar_ends {
            break;
        }
        let steps = inventor.batch(rng, &truth);
        one_batch(rng, &mut truth, &mut auditor, &steps, tally).map_err(|wrong| {
            let place = format!("HOLDFAST_MODEL_SEED={seed}, batch {batch}");
            format!("{wrong}\n{place}\n{}", dump(&truth, &steps))
        })?;
        remember(&mut truth, batch);
        done += 1;
    }
    let all = auditor.check_all(&truth);
    all.map_err(|wrong| format!("{wrong}\nHOLDFAST_MODEL_SEED={seed}, at the end"))?;
    Ok(done)
}

fn one_batch(
    rng: &mut StdRng,
    truth: &mut Truth,
    auditor: &mut Auditor,
    mut steps: &[Input],
    tally: &mut Tally,
) -> Result<(), String> {
    let (mut snapshot, mut left) = load::load(truth, steps, rng);
    let early = truth.first_early(steps);
    heard::same("first command that comes early", &early, &snapshot.first_early(steps))?;
    if let Some(place) = early {
        tally.note("edge: a batch ends before a command that comes early");
        steps = &steps[..place];
        (snapshot, left) = load::load(truth, steps, rng);
    }
    truth.ids = ids(truth, steps);
    let expected = truth.judge(steps, &left, tally);
    tally.count(&expected);
    let inputs = steps.iter().map(|step| (step, ()));
    let decided = catch_unwind(AssertUnwindSafe(|| decide(snapshot, inputs)));
    let decided = decided.map_err(|_| "decide panicked".to_owned())?;
    heard::in_order(&decided.outcomes)?;
    heard::compare(truth, &expected, &decided)?;
    // A command that turns out to be inconsistent has taken its place and leaves it empty.
    let takes = |said: &&Said| matches!(said, Said::Decided(_) | Said::Undecided(_));
    let decisions = expected.said.iter().filter(takes);
    let most = decisions.count() + expected.moves.len();
    let places = decided.changes.decisions as usize;
    heard::same("too many places", &false, &(places > most))?;
    auditor.check(truth, &decided.changes)?;
    asked::ask(rng, truth, tally)
}

/// The ids of a batch's requests, should they be accepted.
fn ids(truth: &Truth, steps: &[Input]) -> HashMap<usize, Uuid> {
    let request = |(index, step): (usize, &Input)| match step {
        Input::Command(command) => Some((index, target::drawn(truth, index, command))),
        Input::WakeUp(_)
        | Input::Fence(_)
        | Input::Cancel(_)
        | Input::Rotate(_)
        | Input::Close(_) => None,
    };
    steps.iter().enumerate().filter_map(request).collect()
}

/// The answers of the batch are stored; from now on repeats are replays.
fn remember(truth: &mut Truth, batch: u64) {
    for memo in truth.memos.values_mut() {
        if let Some(step) = memo.step.take() {
            memo.answer = format!("answer to step {step} of batch {batch}");
        }
    }
}

/// The batch and what it is about, a line each; reservations as the model has them afterwards.
fn dump(truth: &Truth, steps: &[Input]) -> String {
    let mut lines = vec![format!("now {}, tick {} s", instant(truth.now), truth.tick / SECOND)];
    lines.extend(truth.people.iter().map(|person| format!("{person:?}")));
    lines.extend(truth.houses.iter().map(|house| format!("{house:?}")));
    lines.extend(steps.iter().enumerate().map(|(index, step)| match step {
        Input::WakeUp(_)
        | Input::Fence(_)
        | Input::Cancel(_)
        | Input::Rotate(_)
        | Input::Close(_) => format!("{index}: {step:?}"),
        Input::Command(c) => {
            let line = format!("{index}: {} {} to {:?}", c.terminal, c.message_id, c.server);
            let digest = u64::from_le_bytes(c.digest[..8].try_into().expect("eight bytes"));
            format!("{line} digest {digest} {:?}", c.action)
        }
    }));
    for step in steps {
        if let Input::Command(c) = step
            && let Action::Reconfirm(id) | Action::Withdraw(id) = c.action
            && let Some(row) = truth.row(id)
        {
            lines.push(format!("{row:?}"));
        }
    }
    lines.join("\n")
}
