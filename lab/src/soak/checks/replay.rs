//! Decides everything again with the naive model, in the order of decisions. Only this check finds
//! commands that were refused wrongly.

use std::collections::HashMap;

use chrono::TimeDelta;
use holdfast::domain::id::{ServerId, TerminalId, UserId};
use holdfast::domain::input::{Action, Command, Input};
use holdfast::domain::interval::Interval;
use holdfast::domain::server::LateBooking;
use holdfast::message::answer::{Answer, QuotaReceipt};
use holdfast::message::command::{Kind, RequestBody, ReservationBody};
use holdfast::store::admin::servers::NewServer;

use super::wording::differs;
use super::{Check, Seen};
use crate::facts::{Change, Decided};
use crate::jumps::Jumps;
use crate::naive::said::{Answer as Expected, Said};
use crate::naive::sums::{self, SECOND};
use crate::naive::tally::Tally;
use crate::naive::truth::{Desk, HERE, House, Person, Row, Span, Truth, instant, micros};
use crate::record::Sent;

/// Longest time from a transaction's position in the order to its commit. Until then, a request on
/// another server does not see what the transaction gives back to the same user.
const IN_FLIGHT: i64 = 35 * SECOND;

/// The low bits of a position count within a batch; the rest identify the batch.
const PLACE_BITS: u32 = 16;

/// By how much the database's clock may have been set back and ahead again.
const SET_BACK: i64 = 300 * SECOND;

/// What happened at one position of the order.
enum Event<'a> {
    Command { terminal: &'a str, id: &'a str, decided: &'a Decided },
    Change(&'a Change),
}

/// Decides everything again and compares.
pub fn decided_again(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("a naive model decides everything as it was decided");
    let mut replay = Replay::new(seen);
    for (seq, event) in events(seen) {
        check.wrong.extend(replay.reach(seq));
        let (name, wrong) = match event {
            Event::Command { terminal, id, decided } => {
                (format!("{terminal} {id}"), replay.command(terminal, id, decided))
            }
            Event::Change(change) => (change.reservation.to_string(), replay.change(change)),
        };
        check.that(wrong.is_none(), || format!("{name}: {}", wrong.unwrap_or_default()));
    }
    check.wrong.extend(replay.reach(i64::MAX));
    for row in &replay.truth.rows {
        let stored = seen.facts.reservations.get(&row.id);
        let stored = stored.map(|known| (known.state.as_str(), known.cancel_reason.as_deref()));
        check.that(stored == Some((row.state, row.reason)), || {
            format!("{}: {stored:?}, must be {} {:?}", row.id, row.state, row.reason)
        });
    }
    check
}

fn events<'a>(seen: &'a Seen<'_>) -> Vec<(i64, Event<'a>)> {
    let decided = seen.facts.decided.iter();
    let commands = decided
        .map(|((terminal, id), decided)| (decided.seq, Event::Command { terminal, id, decided }));
    let changes = seen.facts.changes.iter().map(|change| (change.seq, Event::Change(change)));
    let mut events: Vec<_> = commands.chain(changes).collect();
    events.sort_by_key(|(seq, _)| *seq);
    events
}

struct Replay<'a> {
    jumps: &'a Jumps,
    truth: Truth,
    tally: Tally,
    /// Commands by terminal and message id.
    commands: HashMap<(String, String), Command>,
    /// For how long a change may not have been visible to others.
    in_flight: i64,
    /// The current batch.
    batch: i64,
    /// Users who were granted something in it that must fit at its end.
    to_fit: Vec<UserId>,
}

impl<'a> Replay<'a> {
    fn new(seen: &'a Seen<'_>) -> Self {
        let mut commands = HashMap::new();
        let mut desks = Vec::new();
        for terminal in seen.terminals {
            let id: TerminalId = terminal.id.parse().expect("a registered one");
            let user: UserId = terminal.user.parse().expect("a registered one");
            for (message, sent) in &terminal.record().sent {
                let decided = seen.facts.decided.get(&(terminal.id.clone(), message.clone()));
                if let Some(command) = decided.and_then(|decided| command(&id, sent, decided)) {
                    commands.insert((terminal.id.clone(), message.clone()), command);
                }
            }
            desks.push(Desk { id, user, enabled: true });
        }
        let people = seen.facts.limits.iter().map(|limits| Person {
            id: limits.user.parse().expect("a registered one"),
            max_holds: usize::try_from(limits.holds_max).expect("positive"),
            limit: limits.quota_seconds,
        });
        let periods = seen.facts.periods.iter();
        let truth = Truth {
            tick: SECOND,
            now: 0,
            periods: periods.map(|(from, to)| (micros(*from), micros(*to))).collect(),
            houses: seen.facts.servers.iter().map(house).collect(),
            people: people.collect(),
            desks,
            rows: Vec::new(),
            memos: HashMap::new(),
            ids: HashMap::new(),
        };
        let jumps = &seen.ground.jumps;
        let in_flight = if jumps.any_back() { IN_FLIGHT + SET_BACK } else { IN_FLIGHT };
        let (tally, to_fit) = (Tally::default(), Vec::new());
        Self { jumps, truth, tally, commands, in_flight, batch: 0, to_fit }
    }

    /// Moves on to a position. Returns what is wrong with a batch that has ended.
    fn reach(&mut self, seq: i64) -> Vec<String> {
        let batch = seq >> PLACE_BITS;
        if batch == self.batch {
            return Vec::new();
        }
        let over = std::mem::replace(&mut self.batch, batch);
        let users = std::mem::take(&mut self.to_fit).into_iter();
        users
            .filter(|user| !self.is_within_limits(user))
            .map(|user| format!("{user} has more than allowed once batch {over} is over"))
            .collect()
    }

    fn is_within_limits(&self, user: &UserId) -> bool {
        let (rows, person) = (&self.truth.rows, self.truth.person(user));
        let used = |period: &Span| sums::used(rows, user, *period, SECOND);
        self.truth.holds(user) <= person.max_holds
            && self.truth.periods.iter().all(|period| used(period) <= person.limit)
    }

    /// Returns what is wrong with how a command was decided.
    fn command(&mut self, terminal: &str, id: &str, decided: &Decided) -> Option<String> {
        let Some(command) = self.commands.get(&(terminal.to_owned(), id.to_owned())).cloned()
        else {
            return Some("is not a command that was sent".to_owned());
        };
        let Ok(answer) = serde_json::from_str::<Answer>(&decided.answer) else {
            return Some("has an answer that cannot be read".to_owned());
        };
        self.truth.now = micros(decided.at);
        self.truth.ids = decided.reservation.map(|id| (0, id)).into_iter().collect();
        let expected = match self.judge(&command) {
            Ok(expected) => expected,
            Err(wrong) => return Some(wrong),
        };
        let wrong = differs(&answer, &expected)?;
        if expected.kind == "accepted" && answer.outcome() != "accepted" {
            self.truth.rows.pop();
        }
        if self.excused(&command, &answer, &expected) {
            return None;
        }
        let Some(row) = self.granted_unseen(&command, &answer, &expected) else {
            return Some(wrong);
        };
        self.to_fit.push(row.user.clone());
        self.truth.rows.push(row);
        None
    }

    fn judge(&mut self, command: &Command) -> Result<Box<Expected>, String> {
        let steps = [Input::Command(command.clone())];
        let said = self.truth.judge(&steps, &[], &mut self.tally).said.pop();
        match said {
            Some(Said::Decided(answer)) => Ok(answer),
            other => Err(format!("was decided, but must be {other:?}")),
        }
    }

    /// Whether the user had reached a limit because a release on another server was not committed
    /// yet.
    fn excused(&self, command: &Command, answer: &Answer, expected: &Expected) -> bool {
        let Action::Request(interval) = &command.action else { return false };
        let desk = self.truth.desk(&command.terminal).expect("it has sent something");
        let person = self.truth.person(&desk.user);
        let rows = self.truth.rows.iter().filter(|row| row.user == desk.user);
        let server = &command.server;
        let kept = rows.clone().map(|row| self.not_given_back(row, server));
        let seen = rows.clone().filter(|row| !self.taken_lately(row, server));
        let mut views =
            Views { person, fewest: rows.clone().cloned().collect(), kept: kept.collect() };
        let span = (micros(interval.start), micros(interval.end));
        match answer {
            Answer::Accepted { quota, .. } => {
                // The model has already added the row.
                let own = |receipt: &QuotaReceipt| QuotaReceipt {
                    used_seconds: receipt.used_seconds + receipt.requested_seconds,
                    ..receipt.clone()
                };
                // Deciding it does not lock the user.
                views.fewest = seen.cloned().collect();
                expected.kind == "accepted"
                    && differs(answer, &using(expected, quota)).is_none()
                    && quota.iter().map(own).all(|own| views.allow(&own, span))
            }
            Answer::Refused { code, quota, .. } if code == "quota_exceeded" => {
                let over =
                    |r: &QuotaReceipt| r.requested_seconds > r.limit_seconds - r.used_seconds;
                quota.iter().all(|receipt| views.allow(receipt, span)) && quota.iter().any(over)
            }
            Answer::Refused { code, .. } if code == "too_many_holds" => {
                let holds = views.kept.iter().filter(|row| row.state == "held");
                holds.count() + 1 > person.max_holds
            }
            Answer::Refused { code, .. } if code == "capacity_exceeded" => {
                ["too_many_holds", "quota_exceeded"].contains(&expected.code)
                    && self.right_before(command, answer, &desk.user)
            }
            _ => false,
        }
    }

    /// Whether an answer is right without knowing what its user was recently granted on other
    /// servers. A request that is refused for another reason does not lock its user.
    fn right_before(&self, command: &Command, answer: &Answer, user: &UserId) -> bool {
        self.judge_before(command, user).is_some_and(|other| differs(answer, &other).is_none())
    }

    fn judge_before(&self, command: &Command, user: &UserId) -> Option<Box<Expected>> {
        let mut truth = self.truth.clone();
        let server = &command.server;
        truth.rows.retain(|row| row.user != *user || !self.taken_lately(row, server));
        truth.memos.remove(&(command.terminal.clone(), command.message_id.clone()));
        let steps = [Input::Command(command.clone())];
        match truth.judge(&steps, &[], &mut Tally::default()).said.pop() {
            Some(Said::Decided(answer)) => Some(answer),
            _ => None,
        }
    }

    /// The reservation of a request that was accepted although its user had reached a limit. That
    /// is right if another server granted something at the same moment and the same batch gives
    /// enough of it back: a batch is written as a whole, so nobody sees the limit exceeded. It is
    /// checked at the end of the batch.
    fn granted_unseen(
        &self,
        command: &Command,
        answer: &Answer,
        expected: &Expected,
    ) -> Option<Row> {
        let (Answer::Accepted { quota, .. }, Action::Request(interval)) = (answer, &command.action)
        else {
            return None;
        };
        let user = &self.truth.desk(&command.terminal)?.user;
        let before = self.judge_before(command, user)?;
        let rows = self.truth.rows.iter().filter(|row| row.user == *user);
        let server = &command.server;
        let seen = rows.clone().filter(|row| !self.taken_lately(row, server));
        let kept = rows.clone().map(|row| self.not_given_back(row, server));
        let person = self.truth.person(user);
        let views = Views { person, fewest: seen.cloned().collect(), kept: kept.collect() };
        let span = (micros(interval.start), micros(interval.end));
        let fits = |r: &QuotaReceipt| r.requested_seconds <= r.limit_seconds - r.used_seconds;
        let right = ["too_many_holds", "quota_exceeded"].contains(&expected.code)
            && before.kind == "accepted"
            && differs(answer, &using(&before, quota)).is_none()
            && quota.iter().all(|receipt| views.allow(receipt, span) && fits(receipt));
        before.row.filter(|_| right)
    }

    /// A row as seen by a transaction that does not see its recent changes.
    fn not_given_back(&self, row: &Row, server: &ServerId) -> Row {
        let lately = |at: Option<i64>| at.is_some_and(|at| self.is_lately(at));
        // On the same server, a request waits for a release.
        let unseen =
            row.server != *server && (lately(row.settled_at) || lately(row.reconfirmed_at));
        match unseen {
            true => Row { state: "held", ..row.clone() },
            false => row.clone(),
        }
    }

    /// Whether a request on another server may have been accepted without seeing a row.
    fn taken_lately(&self, row: &Row, server: &ServerId) -> bool {
        row.server != *server && self.is_lately(row.held_at)
    }

    fn is_lately(&self, at: i64) -> bool {
        let true_time = |reading| self.jumps.true_time(instant(reading));
        let ago = true_time(self.truth.now) - true_time(at);
        ago <= TimeDelta::microseconds(self.in_flight)
    }

    /// Returns what is wrong with a change.
    fn change(&mut self, change: &Change) -> Option<String> {
        self.truth.now = micros(change.at);
        let Some(index) = self.truth.rows.iter().position(|row| row.id == change.reservation)
        else {
            return Some("is changed, and must not exist".to_owned());
        };
        let row = &mut self.truth.rows[index];
        let from = row.state;
        let (to, reason) = match (change.actor.as_str(), from) {
            ("operator", "held" | "reconfirmed" | "confirmed") => ("cancelled", Some("operator")),
            ("deadline", _) if micros(change.at) < row.deadline => {
                return Some("is settled before its deadline".to_owned());
            }
            ("deadline", "held") => ("cancelled", Some("not_reconfirmed")),
            ("deadline", "reconfirmed") => ("confirmed", None),
            (actor, state) => return Some(format!("is {state}, and changed by {actor}")),
        };
        row.state = to;
        row.reason = reason;
        row.settled_at = Some(micros(change.at));
        let happened = (change.from.as_deref(), change.to.as_str(), change.reason.as_deref());
        let expected = (Some(from), to, reason);
        // An operator's reason is free text.
        let same = happened.0 == expected.0
            && happened.1 == expected.1
            && (happened.2 == expected.2 || change.actor == "operator");
        (!same).then(|| format!("{happened:?}, must be {expected:?}"))
    }
}

/// The expected answer with the use that these receipts show.
fn using(expected: &Expected, quota: &[QuotaReceipt]) -> Expected {
    let mut other = expected.clone();
    for (line, receipt) in other.receipts.iter_mut().zip(quota) {
        line.used = receipt.used_seconds;
    }
    other
}

/// A user's reservations as they were and as another transaction may have seen them.
struct Views<'a> {
    person: &'a Person,
    fewest: Vec<Row>,
    kept: Vec<Row>,
}

impl Views<'_> {
    /// Whether a receipt for `span` is possible between the two.
    fn allow(&self, receipt: &QuotaReceipt, span: Span) -> bool {
        let period = (micros(receipt.period_start), micros(receipt.period_end));
        let used = |rows: &[Row]| sums::used(rows, &self.person.id, period, SECOND);
        (used(&self.fewest)..=used(&self.kept)).contains(&receipt.used_seconds)
            && receipt.limit_seconds == self.person.limit
            && receipt.requested_seconds == sums::seconds_inside(span, period, SECOND)
    }
}

/// A command in the model's form. `None` if it changes nothing.
fn command(terminal: &TerminalId, sent: &Sent, decided: &Decided) -> Option<Command> {
    let intent = &sent.intent.command;
    let about = || serde_json::from_slice::<ReservationBody>(&intent.body).ok();
    let action = match intent.kind {
        Kind::Request => {
            let body: RequestBody = serde_json::from_slice(&intent.body).ok()?;
            Action::Request(Interval::new(body.start_at, body.end_at)?)
        }
        Kind::Reconfirm => Action::Reconfirm(about()?.reservation),
        Kind::Withdraw => Action::Withdraw(about()?.reservation),
        Kind::Show | Kind::List | Kind::Availability => return None,
    };
    Some(Command {
        terminal: terminal.clone(),
        message_id: intent.message_id.clone(),
        digest: decided.digest.clone().try_into().ok()?,
        server: intent.server.as_deref()?.parse().ok()?,
        action,
        trace: None,
    })
}

fn house(server: &NewServer) -> House {
    let seconds = |length: i32| i64::from(length) * SECOND;
    House {
        id: server.id.clone(),
        capacity: usize::try_from(server.capacity).expect("positive"),
        open: true,
        rate: server.rate_minor,
        currency: "EUR",
        version: 1,
        slot: seconds(server.slot_seconds),
        min: seconds(server.min_seconds),
        max: seconds(server.max_seconds),
        gap: seconds(server.gap_seconds),
        lead: seconds(server.lead_seconds),
        horizon: seconds(server.horizon_seconds),
        confirms_late: server.late_booking == LateBooking::Confirm,
        url: server.connection_url.clone(),
        closures: Vec::new(),
        // The order of decisions already says where they were made.
        partition: HERE,
        moving: None,
        came_at: None,
    }
}
