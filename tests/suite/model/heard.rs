//! Puts what `decide` said and did into the model's words, and compares.

use std::collections::HashMap;
use std::fmt::Debug;

use holdfast::domain::outcome::{
    Cause, Changes, Decision, Outcome, Refusal, Transition, WakeUpOutcome,
};
use holdfast::domain::quota::Receipt;
use holdfast::domain::reservation::Reservation;
use holdfast::domain::snapshot::Snapshot;

use super::said::{Answer, Expected, Line, Move, Said};
use super::truth::{Row, Truth, micros};

/// Compares everything that `decide` brought about with what the model expects.
pub fn compare(
    truth: &Truth,
    expected: &Expected,
    world: &Snapshot,
    verdicts: &[Outcome],
    effects: &Changes,
) -> Result<(), String> {
    same("number of verdicts", &expected.said.len(), &verdicts.len())?;
    for (index, (said, verdict)) in expected.said.iter().zip(verdicts).enumerate() {
        same(&format!("verdict on step {index}"), said, &heard(verdict))?;
    }
    same("transitions", &expected.moves, &moves(effects)?)?;
    let wake_ups = effects.wake_ups.iter().map(|at| micros(*at)).collect();
    same("wake-ups", &expected.wake_ups, &wake_ups)?;
    let finished = effects.finished.map(micros);
    same("finished", &expected.finished, &finished)?;
    for reservation in world.reservations.values() {
        let row = truth.row(reservation.id);
        same("reservation", &row, &Some(&self::row(reservation)))?;
    }
    for moved in &expected.moves {
        let there = world.reservations.contains_key(&moved.row);
        same("changed reservation is in the world", &true, &there)?;
    }
    Ok(())
}

/// Decided commands take places in the order in which they stood in the queue.
pub fn in_order(verdicts: &[Outcome]) -> Result<(), String> {
    let order = |verdict: &Outcome| match verdict {
        Outcome::Decided { order, .. } => Some(*order),
        _ => None,
    };
    let places: Vec<u32> = verdicts.iter().filter_map(order).collect();
    same("decisions in order", &true, &places.is_sorted_by(|a, b| a < b))
}

/// Equality, or a message that shows both.
pub fn same<T: PartialEq + Debug>(what: &str, expected: &T, got: &T) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}\n  expected {expected:?}\n  got      {got:?}"))
}

fn heard(verdict: &Outcome) -> Said {
    match verdict {
        Outcome::Decided { decision, .. } => Said::Decided(answer(decision)),
        Outcome::Answered(decision) => Said::Answered(answer(decision)),
        Outcome::Undecided(refusal) => Said::Undecided(refused(refusal)),
        Outcome::Replay(stored) => {
            Said::Replay { digest: stored.digest, answer: stored.answer.clone() }
        }
        Outcome::RepeatOf(step) => Said::RepeatOf(*step),
        Outcome::UnknownTerminal => Said::UnknownTerminal,
        Outcome::WakeUp(WakeUpOutcome::Finished) => Said::WakeUp("finished"),
        Outcome::WakeUp(WakeUpOutcome::Reschedule) => Said::WakeUp("reschedule"),
        Outcome::WakeUp(WakeUpOutcome::ToTail) => Said::WakeUp("to_tail"),
        Outcome::Cancel(_) => unreachable!("never asked for"),
    }
}

fn answer(decision: &Decision) -> Box<Answer> {
    match decision {
        Decision::Accepted { reservation, receipts } => Box::new(Answer {
            receipts: receipts.iter().map(line).collect(),
            ..*Answer::about("accepted", &row(reservation))
        }),
        Decision::Reconfirmed(reservation) => Answer::about("reconfirmed", &row(reservation)),
        Decision::Withdrawn(reservation) => Answer::about("withdrawn", &row(reservation)),
        Decision::Shown(reservation) => Answer::about("shown", &row(reservation)),
        Decision::Listed { .. } | Decision::Availability(_) => unreachable!("never asked for"),
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

fn row(reservation: &Reservation) -> Row {
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
fn moves(effects: &Changes) -> Result<Vec<Move>, String> {
    let mut moves: Vec<Move> = Vec::new();
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut last = None;
    for transition in &effects.transitions {
        if last.is_some_and(|last| transition.order < last) || transition.order >= effects.decisions
        {
            return Err(format!("places out of order: {:?}", effects.transitions));
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
    };
    Move {
        row: transition.reservation,
        from: transition.from.map(|state| state.as_str()),
        to: transition.to.as_str(),
        cause,
        place,
    }
}
