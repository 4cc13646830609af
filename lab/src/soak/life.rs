//! Plays one life, from the request to the end of the reservation and beyond.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::client::Command;
use holdfast::domain::input::Cancellation;
use holdfast::domain::interval::Timestamp;
use holdfast::engine::cancel;
use holdfast::message::answer::{Answer, ReservationView};
use holdfast::message::shape::Shape;
use holdfast::store::pool::Pool;
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use crate::former::Former;
use crate::jumps::Jumps;
use crate::moves::Moves;
use crate::pick::Pick;
use crate::plan::{Afterwards, Copies, Course, Operator, Plan, Query, Trespass};
use crate::record::{Intent, MALFORMED, Sent};
use crate::servers::{Clock, Server};
use crate::tally::Tally;
use crate::terminal::Terminal;

/// A terminal without an answer for this long sends the same message again, as the contract says.
const RESEND_AFTER: Duration = Duration::from_secs(10);

/// Pause before a command is sent again because its server has moved, as its answer asks.
const TURNED_AWAY_PAUSE: Duration = Duration::from_secs(5);

/// Sendings after which a terminal gives up. The checks then report a missing answer.
const SENDINGS_MAX: usize = 9;

/// Longest time from a deadline to its notice, although all workers may be dead for a while.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// Recent reservations from which one of another user's is chosen.
const KNOWN_MAX: usize = 1_000;

/// Allowed outcomes of a request.
pub const REQUESTED: &[&str] = &[
    "accepted",
    "capacity_exceeded",
    "quota_exceeded",
    "too_many_holds",
    // Decided after its deadline or its start, because no worker ran before; the replay knows when.
    "too_late_to_reconfirm",
    "start_in_past",
];
const RECONFIRMED: &[&str] = &["reconfirmed", "already_confirmed", "already_cancelled"];
const WITHDRAWN: &[&str] = &["withdrawn", "already_confirmed", "already_cancelled"];
const UNKNOWN: &[&str] = &["unknown_reservation"];
const REUSED: &[&str] = &[crate::record::MISMATCH];

/// Shared by all lives.
pub struct Ground {
    pub servers: Vec<Server>,
    pub clock: Clock,
    pub tally: Arc<Tally>,
    /// Database connections of operators.
    pub pool: Pool,
    /// Accepted reservations with server and user.
    pub known: Mutex<Vec<(Uuid, String, String)>>,
    /// Reservations that an operator has cancelled.
    pub cancelled: Mutex<Vec<Uuid>>,
    /// When queues were deleted that may have held commands.
    pub wiped: Mutex<Vec<Timestamp>>,
    /// When the broker lost transient messages: before and after each restart.
    pub restarts: Mutex<Vec<Timestamp>>,
    /// When servers moved to other partitions.
    pub moves: Moves,
    /// Messages that must become dead letters, by id, and whether the broker confirmed them.
    pub poison: Mutex<HashMap<String, bool>>,
    /// When the database's clock was off.
    pub jumps: Jumps,
    /// When sessions with a former primary were left.
    pub former: Former,
    /// Whether engines fail too, and not only workers.
    pub chaos: bool,
    /// Whether all deadlines are near.
    pub brief: bool,
}

impl Ground {
    /// Queues that must be empty at the end.
    pub fn empty_at_the_end(&self, shape: Shape) -> Vec<String> {
        crate::queues::empty_at_the_end(shape, self.jumps.any_back())
    }

    /// How many of a command's sendings must be answered: all that the broker confirmed, unless
    /// they may be lost. A command that was sent again needs one answer.
    pub fn due(&self, terminal: &Terminal, sent: &Sent) -> usize {
        match self.may_be_lost(terminal, sent) {
            true => sent.sendings.min(1),
            false => sent.sendings,
        }
    }

    /// Whether a command or its answers may have been lost with a queue or a restart of the broker, or
    /// is a query, which the broker drops after half a minute without workers.
    pub fn may_be_lost(&self, terminal: &Terminal, sent: &Sent) -> bool {
        let wiped = self.wiped.lock().expect("no panics").iter().any(|at| sent.first_at <= *at);
        let dropped = self.chaos && sent.intent.command.kind.is_query();
        wiped || dropped || terminal.was_robbed() || self.lost_with_broker(terminal, sent)
    }

    /// Whether a refusal without a decision, which is transient, may have been lost with the
    /// broker.
    fn lost_with_broker(&self, terminal: &Terminal, sent: &Sent) -> bool {
        let malformed = sent.intent.allowed.contains(&MALFORMED);
        let restarts = self.restarts.lock().expect("no panics");
        let mut since = restarts.iter().filter(|at| sent.first_at <= **at);
        since.any(|at| malformed || terminal.may_have_been_limited(sent, *at))
    }

    /// Notes that the broker is about to restart, or has done so.
    pub fn broker_restarts(&self) {
        self.restarts.lock().expect("no panics").push(self.clock.now());
    }

    /// Cancels a reservation if that is still possible.
    pub async fn cancel_as_operator(&self, reservation: Uuid, note: String) -> Result<()> {
        let request = Cancellation { reservation, operator: "soak".to_owned(), note };
        match cancel(&self.pool, request).await {
            Ok(Ok(_)) => self.cancelled.lock().expect("no panics").push(reservation),
            // It was withdrawn, or cancelled at its deadline.
            Ok(Err(_)) => {}
            // The outcome is unknown, to a real operator too.
            Err(_) if self.chaos => {}
            Err(error) => return Err(error).context("an operator"),
        }
        Ok(())
    }
}

pub struct Life {
    pub number: usize,
    pub plan: Plan,
    pub ground: Arc<Ground>,
    pub terminal: Arc<Terminal>,
    pub sibling: Arc<Terminal>,
    pub pick: Pick,
    /// Copies that have not been sent yet.
    pub later: JoinSet<()>,
}

impl Life {
    pub async fn play(mut self) {
        let ground = self.ground.clone();
        ground.tally.started.add();
        if let Err(error) = self.try_play().await {
            ground.tally.failed(format!("life {}: {error:#}", self.number));
        }
        while self.later.join_next().await.is_some() {}
        ground.tally.ended.add();
    }

    async fn try_play(&mut self) -> Result<()> {
        let request = self.request();
        let copies = self.plan.request_copies.clone();
        let terminal = self.terminal.clone();
        let answer = self.ask(&terminal, &request, &copies).await?;
        // Before the answer, either of the two could be decided first.
        if self.plan.reuses_id && answer.is_some() {
            self.reuse_id(&request).await?;
        }
        self.trespass().await?;
        let Some(Answer::Accepted { reservation, .. }) = answer else {
            return Ok(());
        };
        self.remember(&reservation);
        self.query(&reservation).await?;
        if reservation.state == "held" {
            self.hold(&reservation).await?;
        }
        if self.plan.operator == Some(Operator::OnceSettled) {
            self.cancel_as_operator(reservation.id).await?;
        }
        self.afterwards(&request, &reservation).await
    }

    fn id(&self, word: &str) -> String {
        format!("{}-{word}", self.number)
    }

    fn request(&self) -> Intent {
        let Plan { late, ahead, length_seconds, .. } = self.plan;
        let fitting: Vec<&Server> =
            self.ground.servers.iter().filter(|server| server.takes_late || !late).collect();
        let server = fitting[self.plan.server % fitting.len()];
        let now = self.ground.clock.now();
        let (start, end) = match late {
            true => server.late_window(now, ahead, length_seconds),
            false => server.window(now, ahead, length_seconds),
        };
        let command = Command::request(self.id("request"), &server.id, start, end);
        Intent { command, reservation: None, allowed: REQUESTED }
    }

    /// Sends a command with its copies and waits for the answer. `None` if there was none even
    /// after sending it again.
    async fn ask(
        &mut self,
        terminal: &Arc<Terminal>,
        intent: &Intent,
        copies: &Copies,
    ) -> Result<Option<Answer>> {
        for delay in copies.iter().copied() {
            let (terminal, intent) = (terminal.clone(), intent.clone());
            self.later.spawn(async move {
                sleep(delay).await;
                // A terminal that cannot send has reported it.
                terminal.send(&intent).await.ok();
            });
        }
        let id = &intent.command.message_id;
        let most = if self.ground.brief { SENDINGS_MAX / 2 } else { SENDINGS_MAX };
        for _ in 0..most {
            let before = terminal.record().turned_away(id);
            terminal.send(intent).await?;
            let heard = terminal.found(RESEND_AFTER, |record| match record.answer_to(id) {
                None => (record.turned_away(id) > before).then_some(None),
                decided => Some(decided),
            });
            match heard.await {
                Some(Some(answer)) => return Ok(Some(answer)),
                Some(None) => sleep(TURNED_AWAY_PAUSE).await,
                None => {}
            }
        }
        Ok(None)
    }

    /// Sends another command under the same id.
    async fn reuse_id(&mut self, request: &Intent) -> Result<()> {
        let id = &request.command.message_id;
        let (start, end) = (chrono::DateTime::UNIX_EPOCH, self.ground.clock.now());
        let server = request.command.server.as_deref().context("a request names a server")?;
        let command = Command::request(id, server, start, end);
        let other = Intent { command, reservation: None, allowed: REUSED };
        self.terminal.send(&other).await
    }

    /// Tries something with another user's reservation.
    async fn trespass(&mut self) -> Result<()> {
        let Some(trespass) = self.plan.trespass else { return Ok(()) };
        let Some((id, server)) = self.foreign() else { return Ok(()) };
        let message_id = self.id("trespass");
        let command = match trespass {
            Trespass::Show => Command::show(message_id, id),
            Trespass::Reconfirm => Command::reconfirm(message_id, &server, id),
            Trespass::Withdraw => Command::withdraw(message_id, &server, id),
        };
        self.terminal.send(&Intent { command, reservation: None, allowed: UNKNOWN }).await
    }

    fn foreign(&mut self) -> Option<(Uuid, String)> {
        let known = self.ground.known.lock().expect("no panics");
        let mut foreign = known.iter().filter(|(_, _, user)| *user != self.terminal.user);
        let count = foreign.clone().count();
        let chosen = foreign.nth(self.pick.index(count.max(1)));
        chosen.map(|(id, server, _)| (*id, server.clone()))
    }

    fn remember(&self, reservation: &ReservationView) {
        let mut known = self.ground.known.lock().expect("no panics");
        if known.len() == KNOWN_MAX {
            known.remove(0);
        }
        known.push((reservation.id, reservation.server.clone(), self.terminal.user.clone()));
    }

    async fn query(&mut self, reservation: &ReservationView) -> Result<()> {
        let Some(query) = self.plan.query else { return Ok(()) };
        let id = self.id("query");
        let (command, allowed): (_, &[&str]) = match query {
            Query::Show => (Command::show(id, reservation.id), &["shown"]),
            Query::List => (Command::list(id, Some(5), None), &["listed"]),
            Query::Availability => {
                let (start, end) = (reservation.start_at, reservation.end_at);
                let command = Command::availability(id, &reservation.server, start, end);
                (command, &["server.availability"])
            }
        };
        self.terminal.send(&Intent { command, reservation: None, allowed }).await
    }

    /// Plays from the answer to the end of the reservation.
    async fn hold(&mut self, reservation: &ReservationView) -> Result<()> {
        let left = self.ground.clock.until(reservation.deadline_at);
        if self.plan.operator == Some(Operator::BeforeTheDeadline) {
            sleep(left.mul_f64(self.plan.when / 2.0)).await;
            self.cancel_as_operator(reservation.id).await?;
        }
        let by = match self.plan.by_sibling {
            true => self.sibling.clone(),
            false => self.terminal.clone(),
        };
        self.take_course(&by, reservation).await?;
        let patience = self.ground.clock.until(reservation.deadline_at) + SETTLED_WITHIN;
        // A terminal gets no notice of its own withdrawal.
        let withdrawn =
            matches!(self.plan.course, Course::Withdraw | Course::ReconfirmThenWithdraw);
        let (id, message) = (reservation.id, self.id("withdraw"));
        let told = self.terminal.found(patience, |record| {
            let own =
                withdrawn && matches!(record.answer_to(&message), Some(Answer::Withdrawn { .. }));
            (own || record.told_settled(id)).then_some(())
        });
        // If the notice never arrives, the checks report it.
        told.await;
        Ok(())
    }

    async fn take_course(&mut self, by: &Arc<Terminal>, held: &ReservationView) -> Result<()> {
        let left = self.ground.clock.until(held.deadline_at);
        let course = self.plan.course;
        match course {
            Course::ReconfirmLast => {
                let early = Duration::from_millis(300);
                let spread = self.pick.millis(0, 600);
                sleep(left.saturating_sub(early) + spread).await;
            }
            Course::Nothing => return Ok(()),
            _ => sleep(left.mul_f64(self.plan.when)).await,
        }
        let copies = self.plan.course_copies.clone();
        let reconfirm = self.reconfirm("reconfirm", held);
        let withdraw = self.withdraw("withdraw", held);
        match course {
            Course::Nothing => {}
            Course::Reconfirm | Course::ReconfirmLast => {
                self.ask(by, &reconfirm, &copies).await?;
            }
            Course::ReconfirmTwice => {
                self.ask(by, &reconfirm, &copies).await?;
                let again = self.reconfirm("reconfirm-2", held);
                self.ask(by, &again, &copies).await?;
            }
            Course::Withdraw => {
                self.ask(by, &withdraw, &copies).await?;
            }
            Course::ReconfirmThenWithdraw => {
                self.ask(by, &reconfirm, &copies).await?;
                sleep(self.pick.millis(0, 3_000)).await;
                self.ask(by, &withdraw, &copies).await?;
            }
        }
        Ok(())
    }

    fn reconfirm(&self, word: &str, held: &ReservationView) -> Intent {
        let command = Command::reconfirm(self.id(word), &held.server, held.id);
        Intent { command, reservation: Some(held.id), allowed: RECONFIRMED }
    }

    fn withdraw(&self, word: &str, held: &ReservationView) -> Intent {
        let command = Command::withdraw(self.id(word), &held.server, held.id);
        Intent { command, reservation: Some(held.id), allowed: WITHDRAWN }
    }

    async fn cancel_as_operator(&self, reservation: Uuid) -> Result<()> {
        let note = format!("life {} was to end so", self.number);
        self.ground.cancel_as_operator(reservation, note).await
    }

    async fn afterwards(&mut self, request: &Intent, ended: &ReservationView) -> Result<()> {
        let Some(afterwards) = self.plan.afterwards else { return Ok(()) };
        let terminal = self.terminal.clone();
        let intent = match afterwards {
            Afterwards::RequestAgain => request.clone(),
            Afterwards::Reconfirm => self.reconfirm("afterwards", ended),
            Afterwards::Withdraw => self.withdraw("afterwards", ended),
            Afterwards::Show => {
                let command = Command::show(self.id("afterwards"), ended.id);
                Intent { command, reservation: None, allowed: &["shown"] }
            }
        };
        terminal.send(&intent).await
    }
}
