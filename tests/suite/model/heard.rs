//! Puts what `decide` said and did into the model's words, and compares.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;

use holdfast::domain::decide::Decided;
use holdfast::domain::outcome::{
    Cause, Changes, CommandOutcome, Decision, Outcome, Refusal, Transition, WakeUpOutcome,
};
use holdfast::domain::quota::Receipt;
use holdfast::domain::reservation::Reservation;
use uuid::Uuid;

use super::said::{Answer, Expected, Line, Move, Said};
use super::truth::{Row, Truth, micros};

/// Compares everything that `decide` brought about with what the model expects.
pub fn compare(
    truth: &Truth,
    expected: &Expected,
    decided: &Decided<'_, ()>,
) -> Result<(), String> {
    let Decided { snapshot, outcomes, changes } = decided;
    same("number of outcomes", &expected.said.len(), &outcomes.len())?;
    for (index, (said, (outcome, ()))) in expected.said.iter().zip(outcomes).enumerate() {
        same(&format!("outcome of step {index}"), said, &heard(outcome))?;
    }
    same("transitions", &expected.moves, &moves(changes)?)?;
    let wake_ups = changes.timers.iter().map(|at| micros(*at)).collect();
    same("wake-ups", &expected.wake_ups, &wake_ups)?;
    let fences: BTreeSet<Uuid> = expected.fences.keys().copied().collect();
    same("fences", &fences, &changes.fences)?;
    let finished = changes.finished.map(micros);
    same("finished", &expected.finished, &finished)?;
    for reservation in snapshot.reservations.values() {
        let row = truth.row(reservation.id);
        same("reservation", &row, &Some(&self::row(reservation)))?;
    }
    for (id, server) in &snapshot.servers {
        let house = truth.house(id).ok_or_else(|| format!("no server {id}"))?;
        same("partition of a server", &house.partition, &server.partition)?;
        let open = snapshot.moves.get(id).map(|moving| moving.fence);
        same("open move of a server", &house.moving.map(|moving| moving.fence), &open)?;
    }
    for moved in &expected.moves {
        let there = snapshot.reservations.contains_key(&moved.row);
        same("changed reservation is in the snapshot", &true, &there)?;
    }
    Ok(())
}

/// Decided commands take places in the order in which they stood in the queue.
pub fn in_order(outcomes: &[(Outcome<'_>, ())]) -> Result<(), String> {
    let order = |(outcome, ()): &(Outcome<'_>, ())| match outcome {
        Outcome::Command(_, CommandOutcome::Decided { order, .. }) => Some(*order),
        _ => None,
    };
    let places: Vec<u32> = outcomes.iter().filter_map(order).collect();
    same("decisions in order", &true, &places.is_sorted_by(|a, b| a < b))
}

/// Equality, or a message that shows both.
pub fn same<T: PartialEq + Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}\n  expected {expected:?}\n  got      {got:?}"))
}

fn heard(outcome: &Outcome<'_>) -> Said {
    match outcome {
        Outcome::Command(_, outcome) => match outcome {
            CommandOutcome::Decided { decision, .. } => Said::Decided(answer(decision)),
            CommandOutcome::Repeated(decision) => Said::Repeated(answer(decision)),
            CommandOutcome::Replayed(stored) => {
                Said::Replay { digest: stored.digest, answer: stored.answer.clone() }
            }
            CommandOutcome::Copy => Said::Copy,
            CommandOutcome::Undecided(refusal) => Said::Undecided(refused(refusal)),
            CommandOutcome::UnknownTerminal => Said::UnknownTerminal,
        },
        Outcome::WakeUp(_, WakeUpOutcome::Finished) => Said::WakeUp("finished"),
        Outcome::WakeUp(_, WakeUpOutcome::Reschedule) => Said::WakeUp("reschedule"),
        Outcome::WakeUp(_, WakeUpOutcome::ToTail) => Said::WakeUp("to_tail"),
        Outcome::Fence(moved) => Said::Fence(*moved),
        Outcome::Cancel(_) | Outcome::Rotate(_) | Outcome::Close => unreachable!("never asked for"),
    }
}

fn answer(decision: &Decision) -> Box<Answer> {
    match decision {
        Decision::Accepted { reservation, receipts, .. } => Box::new(Answer {
            receipts: receipts.iter().map(line).collect(),
            ..*Answer::about("accepted", &row(reservation))
        }),
        Decision::Reconfirmed(reservation) => Answer::about("reconfirmed", &row(reservation)),
        Decision::Withdrawn(reservation) => Answer::about("withdrawn", &row(reservation)),
        Decision::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> Box<Answer> {
    Box::new(Answer {
        receipts: refusal.receipts.iter().map(line).collect(),
        field: refusal.field.clone(),
        reason: refusal.reason.map(|reason| reason.as_str()),
        ..*Answer::refused(refusal.code.as_str())
    })
}

fn line(receipt: &Receipt) -> Line {
    Line {
        period: (micros(receipt.bounds.start), micros(receipt.bounds.end)),
        limit: receipt.limit_seconds,
        used: receipt.used_seconds,
        requested: receipt.requested_seconds,
    }
}

/// A reservation of the product in the model's words.
pub fn row(reservation: &Reservation) -> Row {
    Row {
        id: reservation.id,
        terminal: reservation.terminal.clone(),
        message_id: reservation.message_id.clone(),
        user: reservation.user.clone(),
        server: reservation.server.clone(),
        start: micros(reservation.interval.start),
        end: micros(reservation.interval.end),
        busy_until: micros(reservation.busy_until),
        deadline: micros(reservation.deadline_at),
        state: reservation.state.as_str(),
        reason: reservation.cancel_reason.map(|reason| reason.as_str()),
        price: reservation.price_minor,
        currency: reservation.currency.clone(),
        version: reservation.tariff_version,
        held_at: micros(reservation.held_at),
        reconfirmed_at: reservation.reconfirmed_at.map(micros),
        settled_at: reservation.settled_at.map(micros),
    }
}

/// The transitions, with places in the decision order replaced by a count of the places used:
/// the order must grow from each decision to the next, but a decision that changes nothing may
/// take a place as well.
fn moves(changes: &Changes) -> Result<Vec<Move>, String> {
    let mut moves: Vec<Move> = Vec::new();
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut last = None;
    for transition in &changes.transitions {
        if last.is_some_and(|last| transition.order < last) || transition.order >= changes.decisions
        {
            return Err(format!("places out of order: {:?}", changes.transitions));
        }
        last = Some(transition.order);
        let next = places.len();
        let place = *places.entry(transition.order).or_insert(next);
        moves.push(moved(transition, place));
    }
    Ok(moves)
}

fn moved(transition: &Transition, place: usize) -> Move {
    let cause = match &transition.cause {
        Cause::Terminal { terminal, message_id } => format!("terminal {terminal} {message_id}"),
        Cause::Deadline { trigger, lateness_ms } => {
            format!("deadline {} {lateness_ms}", trigger.as_str())
        }
        Cause::Operator { operator, note } => format!("operator {operator} {note}"),
        Cause::Rotation { .. } | Cause::End { .. } => unreachable!("never asked for"),
    };
    Move {
        row: transition.reservation,
        from: transition.from.map(|state| state.as_str()),
        to: transition.to.as_str(),
        cause,
        place,
    }
}
