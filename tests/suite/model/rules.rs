//! The rules once more, written as naively as they can be read.

use holdfast::domain::id::ServerId;
use holdfast::domain::input::{Action, Command, Fence, Input, Trigger, WakeUp};
use uuid::Uuid;

use super::said::{Answer, Answered, Expected, Said};
use super::tally::Tally;
use super::truth::{Desk, HERE, House, Memo, Row, Truth, micros};

impl Truth {
    /// Judges a batch. `left` are the due reservations that did not fit into the batch's slice.
    pub fn judge(&mut self, steps: &[Input], left: &[Uuid], tally: &mut Tally) -> Expected {
        let mut out = Expected::default();
        for (index, step) in steps.iter().enumerate() {
            let said = match step {
                Input::Command(command) => self.command(index, command, &mut out, tally),
                Input::WakeUp(wake_up) => {
                    Said::WakeUp(self.wake_up(wake_up, left, &mut out, tally))
                }
                Input::Fence(fence) => {
                    let moved = self.fence(fence, &mut out);
                    let ahead = steps[..index].iter().any(|step| is_to(step, &fence.server));
                    tally.note_if(moved && ahead, "edge: a command ahead of its server's fence");
                    Said::Fence(moved)
                }
                Input::Cancel(_) | Input::Rotate(_) | Input::Close(_) => {
                    unreachable!("never asked for")
                }
            };
            out.said.push(said);
        }
        out
    }

    fn command(&mut self, at: usize, c: &Command, out: &mut Expected, tally: &mut Tally) -> Said {
        let stands = self.stands(&c.server);
        if stands == "copy" {
            return Said::Copy;
        }
        let Some(desk) = self.desk(&c.terminal).cloned() else {
            return Said::UnknownTerminal;
        };
        if !desk.enabled {
            return Said::Undecided(Answer::refused("terminal_disabled"));
        }
        let key = (c.terminal.clone(), c.message_id.clone());
        if let Some(memo) = self.memos.get(&key) {
            tally.note_if(
                stands == "elsewhere" && memo.digest == c.digest,
                "edge: a repeat through the wrong queue gets its answer",
            );
            return if memo.digest != c.digest {
                Said::Undecided(Answer::refused("idempotency_mismatch"))
            } else if let Some(step) = memo.step {
                let Said::Decided(answer) = &out.said[step] else { unreachable!("it is known") };
                Said::Repeated(answer.clone())
            } else {
                Said::Replay { digest: memo.digest, answer: memo.answer.clone() }
            };
        }
        if stands == "elsewhere" {
            tally.note_if(
                out.fences.values().any(|left| *left == c.server),
                "edge: a command behind its server's fence",
            );
            let field = Some("routing_key".to_owned());
            return Said::Undecided(Box::new(Answer {
                field,
                ..*Answer::refused("wrong_partition")
            }));
        }
        let answer = self.act(at, &desk, c, out, tally);
        if answer.code == "inconsistent_message" {
            return Said::Undecided(answer);
        }
        let memo = Memo { digest: c.digest, step: Some(at), answer: String::new() };
        self.memos.insert(key, memo);
        Said::Decided(answer)
    }

    fn act(
        &mut self,
        at: usize,
        desk: &Desk,
        c: &Command,
        out: &mut Expected,
        tally: &mut Tally,
    ) -> Box<Answer> {
        let answer = match &c.action {
            Action::Request(interval) => {
                let span = (micros(interval.start), micros(interval.end));
                let id = self.ids.get(&at).copied().unwrap_or_default();
                self.request(desk, c, id, span, tally).inspect(|answer| {
                    let row = answer.row.as_ref().expect("it is accepted");
                    if row.state == "held" {
                        out.wake_ups.insert(row.deadline);
                        out.moved(row.id, &[None, Some("held")], &cause(c));
                    } else {
                        out.moved(row.id, &[None, Some("held"), Some("confirmed")], &cause(c));
                    }
                })
            }
            Action::Reconfirm(id) => self.reconfirm(desk, c, *id, out, tally),
            Action::Withdraw(id) => self.withdraw(desk, c, *id, out),
        };
        answer.unwrap_or_else(|refused| refused)
    }

    /// The user's own reservation.
    pub fn own(&self, desk: &Desk, id: Uuid) -> Result<&Row, Box<Answer>> {
        match self.row(id) {
            Some(row) if row.user == desk.user => Ok(row),
            _ => Err(Answer::refused("unknown_reservation")),
        }
    }

    /// The user's own reservation, to be changed by a command that came along the right way.
    fn to_change(&self, desk: &Desk, c: &Command, id: Uuid) -> Result<usize, Box<Answer>> {
        let row = self.own(desk, id)?;
        if c.server != row.server {
            return Err(Box::new(Answer {
                field: Some("routing_key".to_owned()),
                ..*Answer::refused("inconsistent_message")
            }));
        }
        if row.state == "confirmed" {
            return Err(Answer::refused("already_confirmed"));
        }
        if row.state == "cancelled" {
            return Err(Box::new(Answer {
                reason: row.reason,
                ..*Answer::refused("already_cancelled")
            }));
        }
        Ok(self.rows.iter().position(|other| other.id == id).unwrap())
    }

    fn reconfirm(
        &mut self,
        desk: &Desk,
        c: &Command,
        id: Uuid,
        out: &mut Expected,
        tally: &mut Tally,
    ) -> Answered {
        let found = self.to_change(desk, c, id);
        self.note_reconfirm(id, &found, tally);
        let now = self.now;
        let row = &mut self.rows[found?];
        if row.state == "held" {
            row.state = "reconfirmed";
            row.reconfirmed_at = Some(now);
            out.moved(id, &[Some("held"), Some("reconfirmed")], &cause(c));
        }
        Ok(Answer::about("reconfirmed", row))
    }

    fn withdraw(&mut self, desk: &Desk, c: &Command, id: Uuid, out: &mut Expected) -> Answered {
        let index = self.to_change(desk, c, id)?;
        out.moved(id, &[Some(self.rows[index].state), Some("cancelled")], &cause(c));
        self.cancel(index, "withdrawn");
        Ok(Answer::about("withdrawn", &self.rows[index]))
    }

    /// Ends a reservation; also how an operator does it.
    pub fn cancel(&mut self, index: usize, reason: &'static str) {
        let row = &mut self.rows[index];
        row.state = "cancelled";
        row.reason = Some(reason);
        row.settled_at = Some(self.now);
    }

    fn wake_up(
        &mut self,
        w: &WakeUp,
        left: &[Uuid],
        out: &mut Expected,
        tally: &mut Tally,
    ) -> &'static str {
        let due_at = micros(w.due_at);
        if self.now < due_at {
            return "reschedule";
        }
        if micros(w.scheduled_until) < due_at {
            tally.note("edge: intermediate hop read after its instant");
            return "to_tail";
        }
        if micros(w.scheduled_until) > self.now + 250_000 {
            tally.note("edge: a hop that a clock ahead has sent");
            return "to_tail";
        }
        let mut due: Vec<(i64, usize)> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            if row.deadline > due_at || !row.unsettled() {
                continue;
            }
            if self.settles_here(row) && !left.contains(&row.id) {
                due.push((row.deadline, index));
            }
            tally.note_if(
                self.house(&row.server).is_some_and(House::leaves),
                "edge: a deadline waits for its server to have left",
            );
        }
        due.sort_unstable();
        for (_, index) in due {
            self.settle(index, w.trigger, out, tally);
        }
        self.note_wake_up(due_at, tally);
        if left.iter().any(|id| self.row(*id).unwrap().deadline <= due_at) {
            tally.note("edge: more is due than the slice holds");
            return "to_tail";
        }
        out.finished = Some(out.finished.map_or(due_at, |other| other.max(due_at)));
        "finished"
    }

    /// The server moves if the fence is that of its open move out of here.
    fn fence(&mut self, fence: &Fence, out: &mut Expected) -> bool {
        let Some(house) = self.houses.iter_mut().find(|house| house.id == fence.server) else {
            return false;
        };
        match house.moving {
            Some(moving) if house.partition == HERE && moving.fence == fence.id => {
                house.partition = moving.to;
                house.moving = None;
                out.fences.insert(fence.id, fence.server.clone());
                true
            }
            _ => false,
        }
    }

    fn settle(&mut self, at: usize, trigger: Trigger, out: &mut Expected, tally: &mut Tally) {
        self.note_settle(at, tally);
        let now = self.now;
        let row = &mut self.rows[at];
        let word = match trigger {
            Trigger::Message => "message",
            Trigger::Sweep => "sweep",
        };
        let cause = format!("deadline {word} {}", (now - row.deadline) / 1_000);
        if row.state == "reconfirmed" {
            out.moved(row.id, &[Some("reconfirmed"), Some("confirmed")], &cause);
            row.state = "confirmed";
            row.settled_at = Some(now);
        } else {
            out.moved(row.id, &[Some("held"), Some("cancelled")], &cause);
            self.cancel(at, "not_reconfirmed");
        }
    }
}

fn is_to(step: &Input, server: &ServerId) -> bool {
    matches!(step, Input::Command(command) if command.server == *server)
}

/// Who asked for a change, and by which message.
fn cause(c: &Command) -> String {
    format!("terminal {} {}", c.terminal, c.message_id)
}
