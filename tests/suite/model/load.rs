//! Loads a batch's snapshot from the model, the way the store does from the database: only what the
//! batch touches, and now and then something more.

use std::collections::{HashMap, HashSet};

use holdfast::domain::id::{ServerId, TerminalId, UserId};
use holdfast::domain::input::{Action, Command, Input};
use holdfast::domain::outcome::Stored;
use holdfast::domain::quota::{PeriodUse, QuotaLedger};
use holdfast::domain::reservation::Reservation;
use holdfast::domain::server::Server;
use holdfast::domain::snapshot::{Booked, HoldUse, Known, Move, Snapshot, Terminal};
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::stored::{reservation, server};
use super::sums;
use super::truth::{HERE, House, Moving, Row, Span, Truth, instant, interval, micros};

/// The snapshot for a batch, and the due reservations that did not fit into its slice.
pub fn load(truth: &Truth, steps: &[Input], rng: &mut StdRng) -> (Snapshot, Vec<Uuid>) {
    let slice = if rng.random_bool(0.3) { rng.random_range(1..=3) } else { usize::MAX };
    let loader = Loader { truth, steps, everything: rng.random_bool(0.2) };
    loader.world(slice)
}

struct Loader<'a> {
    truth: &'a Truth,
    steps: &'a [Input],
    /// Load also what the batch does not need.
    everything: bool,
}

impl<'a> Loader<'a> {
    fn world(&self, slice: usize) -> (Snapshot, Vec<Uuid>) {
        let mut due = self.due();
        let left = due.split_off(slice.min(due.len()));
        let world = Snapshot {
            now: instant(self.truth.now),
            partition: Some(HERE),
            terminals: self.terminals(),
            servers: self.servers(),
            quota: self.quota(),
            holds: self.holds(),
            booked: self.booked(),
            reservations: self.reservations(&due),
            due: due.iter().map(|row| row.id).collect(),
            due_complete_before: left.first().map(|row| instant(row.deadline)),
            // Reminders and operators have tests of their own.
            to_remind: Vec::new(),
            moves: self.moves(),
            known: self.known(),
        };
        (world, left.iter().map(|row| row.id).collect())
    }

    fn commands(&self) -> impl Iterator<Item = &'a Command> {
        self.steps.iter().filter_map(|step| match step {
            Input::Command(command) => Some(command),
            Input::WakeUp(_)
            | Input::Fence(_)
            | Input::Cancel(_)
            | Input::Rotate(_)
            | Input::Close(_) => None,
        })
    }

    /// What is requested where and by whom.
    fn requests(&self) -> impl Iterator<Item = (&'a Command, Span)> {
        self.commands().filter_map(|command| match &command.action {
            Action::Request(interval) => {
                Some((command, (micros(interval.start), micros(interval.end))))
            }
            _ => None,
        })
    }

    fn requesters(&self) -> impl Iterator<Item = (UserId, Span)> {
        self.requests().filter_map(|(command, span)| {
            let desk = self.truth.desk(&command.terminal)?;
            Some((desk.user.clone(), span))
        })
    }

    /// Due at or before the batch's latest due wake-up, in order of deadline.
    fn due(&self) -> Vec<&'a Row> {
        let due = |step: &Input| match step {
            Input::WakeUp(w)
                if w.due_at <= instant(self.truth.now) && w.scheduled_until >= w.due_at =>
            {
                Some(micros(w.due_at))
            }
            _ => None,
        };
        let Some(latest) = self.steps.iter().filter_map(due).max() else {
            return Vec::new();
        };
        let is_due = |row: &&Row| self.truth.settles_here(row) && row.deadline <= latest;
        let mut due: Vec<&Row> = self.truth.rows.iter().filter(is_due).collect();
        due.sort_by_key(|row| row.deadline);
        due
    }

    fn terminals(&self) -> HashMap<TerminalId, Terminal> {
        let senders: HashSet<&TerminalId> = self.commands().map(|c| &c.terminal).collect();
        let wanted = |id: &TerminalId| self.everything || senders.contains(id);
        let desks = self.truth.desks.iter().filter(|desk| wanted(&desk.id));
        desks
            .map(|desk| {
                let terminal = Terminal { user: desk.user.clone(), enabled: desk.enabled };
                (desk.id.clone(), terminal)
            })
            .collect()
    }

    /// Named by a command or a fence.
    fn houses(&self) -> impl Iterator<Item = &'a House> {
        let named = |step: &'a Input| match step {
            Input::Command(command) => Some(&command.server),
            Input::Fence(fence) => Some(&fence.server),
            Input::WakeUp(_) | Input::Cancel(_) | Input::Rotate(_) | Input::Close(_) => None,
        };
        let named: HashSet<&ServerId> = self.steps.iter().filter_map(named).collect();
        let everything = self.everything;
        self.truth.houses.iter().filter(move |house| everything || named.contains(&house.id))
    }

    fn servers(&self) -> HashMap<ServerId, Server> {
        self.houses().map(|house| (house.id.clone(), server(house))).collect()
    }

    fn moves(&self) -> HashMap<ServerId, Move> {
        let moving = |house: &House| {
            let Moving { fence, to, both } = house.moving?;
            Some((house.id.clone(), Move { fence, to, both }))
        };
        self.houses().filter_map(moving).collect()
    }

    fn quota(&self) -> QuotaLedger {
        let touched: Vec<(UserId, Span)> = self.requesters().collect();
        let mut ledger = QuotaLedger::default();
        for person in &self.truth.people {
            for period in &self.truth.periods {
                let touches = |(user, span): &(UserId, Span)| {
                    *user == person.id && span.0 < period.1 && period.0 < span.1
                };
                if self.everything || touched.iter().any(touches) {
                    let loaded = PeriodUse {
                        bounds: interval(*period),
                        limit_seconds: person.limit,
                        used_seconds: sums::used(
                            &self.truth.rows,
                            &person.id,
                            *period,
                            self.truth.tick,
                        ),
                    };
                    ledger.load(person.id.clone(), loaded);
                }
            }
        }
        ledger
    }

    fn holds(&self) -> HashMap<UserId, HoldUse> {
        let requesters: HashSet<UserId> = self.requesters().map(|(user, _)| user).collect();
        let wanted = |user: &UserId| self.everything || requesters.contains(user);
        let people = self.truth.people.iter().filter(|p| wanted(&p.id));
        people
            .map(|person| {
                let holds = HoldUse {
                    count: self.truth.holds(&person.id) as i64,
                    max: person.max_holds as i64,
                };
                (person.id.clone(), holds)
            })
            .collect()
    }

    fn booked(&self) -> HashMap<ServerId, Vec<Booked>> {
        let mut booked: HashMap<ServerId, Vec<Booked>> = HashMap::new();
        for row in self.truth.rows.iter().filter(|row| row.live()) {
            let in_the_way = |(command, span): (&Command, Span)| {
                let house = self.truth.house(&command.server);
                house.is_some_and(|house| {
                    house.id == row.server
                        && row.start < span.1 + house.gap
                        && span.0 < row.busy_until
                })
            };
            if self.everything || self.requests().any(in_the_way) {
                let entry = Booked { id: row.id, busy: interval((row.start, row.busy_until)) };
                booked.entry(row.server.clone()).or_default().push(entry);
            }
        }
        booked
    }

    fn reservations(&self, due: &[&Row]) -> HashMap<Uuid, Reservation> {
        let mut wanted: HashSet<Uuid> = due.iter().map(|row| row.id).collect();
        for command in self.commands() {
            if let Action::Reconfirm(id) | Action::Withdraw(id) = command.action {
                wanted.insert(id);
            }
        }
        let rows = self.truth.rows.iter();
        rows.filter(|row| self.everything || wanted.contains(&row.id))
            .map(|row| (row.id, reservation(row)))
            .collect()
    }

    fn known(&self) -> HashMap<(TerminalId, String), Known> {
        let mut known = HashMap::new();
        for command in self.commands() {
            let key = (command.terminal.clone(), command.message_id.clone());
            if let Some(memo) = self.truth.memos.get(&key) {
                let stored = Stored {
                    digest: memo.digest,
                    answer_type: "reservation.stored".to_owned(),
                    answer: memo.answer.clone(),
                };
                known.insert(key, Known::Stored(stored));
            }
        }
        known
    }
}
