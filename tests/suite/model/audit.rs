//! Promises that must hold after every batch, whatever the verdicts were.

use std::collections::HashMap;

use holdfast::domain::outcome::{Cause, Changes};
use holdfast::domain::reservation::State;
use uuid::Uuid;

use super::heard::same;
use super::sums;
use super::truth::{Row, Truth, micros};

/// Follows the transitions only, as a reader of the history would.
#[derive(Default)]
pub struct Auditor {
    last: HashMap<Uuid, &'static str>,
    charges: HashMap<Uuid, u32>,
}

impl Auditor {
    /// An operator has cancelled a reservation between batches.
    pub fn operator_cancelled(&mut self, id: Uuid) {
        self.last.insert(id, State::Cancelled.as_str());
    }

    /// Looks at one batch; `truth` is how things stand behind it.
    pub fn check(&mut self, truth: &Truth, effects: &Changes) -> Result<(), String> {
        for transition in &effects.transitions {
            let before = self.last.get(&transition.reservation).copied();
            let from = transition.from.map(|state| state.as_str());
            same("history continues where it was", &before, &from)?;
            if let Cause::Deadline { lateness_ms, .. } = transition.cause {
                same("settled early", &false, &(lateness_ms < 0))?;
            }
            if transition.to == State::Confirmed {
                *self.charges.entry(transition.reservation).or_default() += 1;
            }
            self.last.insert(transition.reservation, transition.to.as_str());
        }
        for transition in &effects.transitions {
            let row = truth.row(transition.reservation);
            let row = row.ok_or("a transition of no reservation")?;
            self.check_charge(row)?;
            if transition.from.is_none() {
                check_place(truth, row)?;
                check_quota(truth, row)?;
            }
        }
        for row in truth.rows.iter().filter(|row| truth.settles_here(row)) {
            let forgotten = effects.finished.is_some_and(|f| row.deadline <= micros(f));
            same("unsettled behind a finished instant", &false, &forgotten)?;
        }
        Ok(())
    }

    /// A look at everything, at the end.
    pub fn check_all(&self, truth: &Truth) -> Result<(), String> {
        for row in &truth.rows {
            same("history", &Some(&row.state), &self.last.get(&row.id))?;
            self.check_charge(row)?;
            check_place(truth, row)?;
        }
        Ok(())
    }

    /// One charge for what was confirmed, none for what was cancelled before.
    fn check_charge(&self, row: &Row) -> Result<(), String> {
        let charges = self.charges.get(&row.id).copied().unwrap_or(0);
        match (row.state, row.reason) {
            ("confirmed", _) => same("charges of a confirmed one", &1, &charges),
            ("cancelled", Some("operator")) => same("too many charges", &false, &(charges > 1)),
            _ => same("charges of an unconfirmed one", &0, &charges),
        }
    }
}

/// At no tick of the reservation is its server overbooked.
fn check_place(truth: &Truth, row: &Row) -> Result<(), String> {
    if !row.live() {
        return Ok(());
    }
    let house = truth.house(&row.server).ok_or("no such server")?;
    let busy = (row.start, row.busy_until);
    let deepest = sums::deepest(&truth.rows, &house.id, busy, truth.tick);
    same("overbooked", &false, &(deepest > house.capacity))
}

/// In no period that an accepted reservation touches is its user over the limit.
fn check_quota(truth: &Truth, row: &Row) -> Result<(), String> {
    let limit = truth.person(&row.user).limit;
    for period in &truth.periods {
        if sums::seconds_inside((row.start, row.end), *period, truth.tick) > 0 && row.live() {
            let used = sums::used(&truth.rows, &row.user, *period, truth.tick);
            same("over quota", &false, &(used > limit))?;
        }
    }
    Ok(())
}
