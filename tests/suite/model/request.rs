//! Whether a request is accepted, one question after the other.

use holdfast::domain::input::Command;
use uuid::Uuid;

use super::said::{Answer, Answered, Line};
use super::sums::{self, SECOND};
use super::tally::Tally;
use super::truth::{Desk, House, Row, Span, Truth};

impl Truth {
    pub fn request(
        &mut self,
        desk: &Desk,
        c: &Command,
        id: Uuid,
        span: Span,
        tally: &mut Tally,
    ) -> Answered {
        let house = self.house(&c.server).cloned();
        let house = house.ok_or_else(|| Answer::refused("unknown_server"))?;
        self.within_policy(&house, span)?;
        let late = self.now >= span.0 - house.lead;
        if late && !house.confirms_late {
            return Err(Answer::refused("too_late_to_reconfirm"));
        }
        if !late && self.holds(&desk.user) + 1 > self.person(&desk.user).max_holds {
            return Err(Answer::refused("too_many_holds"));
        }
        let receipts = self.receipts(desk, span);
        self.within_quota(&receipts, tally)?;
        let busy = (span.0, span.1 + house.gap);
        let deepest = sums::deepest(&self.rows, &house.id, busy, self.tick);
        if deepest + 1 > house.capacity {
            self.note_full(&house, span, tally);
            return Err(Answer::refused("capacity_exceeded"));
        }
        self.note_accept(&house, span, &receipts, tally);
        let max = self.person(&desk.user).max_holds;
        self.note_hold(&house, span.0, self.holds(&desk.user), max, tally);
        let row = self.accept(desk, c, id, &house, span);
        self.rows.push(row.clone());
        Ok(Box::new(Answer { receipts, ..*Answer::about("accepted", &row) }))
    }

    fn within_policy(&self, house: &House, span: Span) -> Result<(), Box<Answer>> {
        if !house.open {
            return Err(Answer::refused("server_closed"));
        }
        if span.0 % house.slot != 0 || span.1 % house.slot != 0 {
            return Err(Answer::refused("off_grid"));
        }
        if span.1 - span.0 < house.min {
            return Err(Answer::refused("too_short"));
        }
        if span.1 - span.0 > house.max {
            return Err(Answer::refused("too_long"));
        }
        if self.now >= span.0 {
            return Err(Answer::refused("start_in_past"));
        }
        if span.0 - self.now > house.horizon {
            return Err(Answer::refused("beyond_horizon"));
        }
        for at in sums::ticks(span, self.tick) {
            if house.closures.iter().any(|c| c.0 <= at && at < c.1) {
                return Err(Answer::refused("closure"));
            }
        }
        Ok(())
    }

    fn receipts(&self, desk: &Desk, span: Span) -> Vec<Line> {
        let mut receipts = Vec::new();
        for period in &self.periods {
            let requested = sums::seconds_inside(span, *period, self.tick);
            if requested > 0 {
                receipts.push(Line {
                    period: *period,
                    limit: self.person(&desk.user).limit,
                    used: sums::used(&self.rows, &desk.user, *period, self.tick),
                    requested,
                });
            }
        }
        receipts
    }

    fn within_quota(&self, receipts: &[Line], tally: &mut Tally) -> Result<(), Box<Answer>> {
        let over = |line: &Line| line.requested > line.limit - line.used;
        if !receipts.iter().any(over) {
            return Ok(());
        }
        if !over(&receipts[0]) {
            tally.note("edge: only the second period is over its quota");
        }
        Err(Box::new(Answer { receipts: receipts.to_vec(), ..*Answer::refused("quota_exceeded") }))
    }

    fn accept(&self, desk: &Desk, c: &Command, id: Uuid, house: &House, span: Span) -> Row {
        let late = self.now >= span.0 - house.lead;
        Row {
            id,
            terminal: c.terminal.clone(),
            message_id: c.message_id.clone(),
            user: desk.user.clone(),
            server: house.id.clone(),
            start: span.0,
            end: span.1,
            busy_until: span.1 + house.gap,
            deadline: span.0 - house.lead,
            state: if late { "confirmed" } else { "held" },
            reason: None,
            price: sums::price(house.rate, (span.1 - span.0) / SECOND),
            currency: house.currency.to_owned(),
            version: house.version,
            held_at: self.now,
            reconfirmed_at: None,
            settled_at: late.then_some(self.now),
        }
    }
}
