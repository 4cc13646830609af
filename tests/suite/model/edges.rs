//! Recognises the edges that the test must have walked along.

use super::said::{Answer, Line};
use super::sums::{self, SECOND};
use super::tally::Tally;
use super::truth::{House, Row, Span, Truth};
use uuid::Uuid;

impl Truth {
    fn live_on<'a>(&'a self, house: &'a House) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(|row| row.server == house.id && row.live())
    }

    /// Before the reservation is added.
    pub fn note_accept(&self, house: &House, span: Span, receipts: &[Line], tally: &mut Tally) {
        let busy = (span.0, span.1 + house.gap);
        let crosses = |row: &Row| row.start < busy.1 && busy.0 < row.busy_until;
        tally.note_if(
            self.live_on(house).any(|row| row.busy_until == busy.0),
            "edge: start touches the end of another's busy time",
        );
        tally.note_if(
            self.live_on(house).any(|row| row.start == busy.1),
            "edge: end of busy time touches another's start",
        );
        let overlapping = self.live_on(house).filter(|row| crosses(row)).count();
        tally.note_if(
            overlapping >= house.capacity,
            "edge: fits in depth, not by count of overlapping rows",
        );
        let freed_now = |row: &&Row| {
            let by_batch = row.settled_at == Some(self.now) && row.reason != Some("operator");
            row.server == house.id && !row.live() && by_batch && crosses(row)
        };
        let freed = self.rows.iter().filter(freed_now).count();
        tally.note_if(
            freed > 0 && overlapping < house.capacity && overlapping + freed >= house.capacity,
            "edge: time freed by the same batch",
        );
        tally.note_if(
            house.closures.iter().any(|c| c.1 == span.0 || c.0 == span.1),
            "edge: touches a closure",
        );
        tally.note_if(span.0 - self.now == house.horizon, "edge: start on the horizon");
        note_receipts(receipts, tally);
        note_price(house, span, tally);
    }

    /// Before the reservation is added.
    pub fn note_hold(
        &self,
        house: &House,
        start: i64,
        holds: usize,
        max: usize,
        tally: &mut Tally,
    ) {
        if start - house.lead > self.now {
            tally.note_if(house.lead == 0, "edge: hold with no lead time");
            tally.note_if(holds + 1 == max, "edge: last place among the holds");
            return;
        }
        tally.note("edge: late booking confirmed");
        tally.note_if(start - house.lead == self.now, "edge: late booking at the very deadline");
        tally.note_if(holds >= max, "edge: late booking beside a full set of holds");
    }

    /// When a server is full.
    pub fn note_full(&self, house: &House, span: Span, tally: &mut Tally) {
        let busy = (span.0, span.1 + house.gap);
        tally.note_if(
            sums::deepest(&self.rows, &house.id, span, self.tick) < house.capacity,
            "edge: full only because of the turn-around behind it",
        );
        let mut without_gaps = self.rows.clone();
        for row in &mut without_gaps {
            row.busy_until = row.end;
        }
        tally.note_if(
            sums::deepest(&without_gaps, &house.id, busy, self.tick) < house.capacity,
            "edge: full only because of the turn-around before it",
        );
    }

    /// Before the state changes.
    pub fn note_reconfirm(&self, id: Uuid, found: &Result<usize, Box<Answer>>, tally: &mut Tally) {
        let Some(row) = self.row(id) else { return };
        match found {
            Ok(_) => tally.note_if(
                row.deadline < self.now,
                "edge: reconfirmed after the deadline had passed",
            ),
            Err(refused) => tally.note_if(
                refused.reason == Some("not_reconfirmed") && row.settled_at == Some(self.now),
                "edge: reconfirmation behind the wake-up of the same batch",
            ),
        }
    }

    /// Before the state changes.
    pub fn note_settle(&self, at: usize, tally: &mut Tally) {
        let row = &self.rows[at];
        tally.note(if row.state == "reconfirmed" {
            "edge: confirmed at the deadline"
        } else {
            "edge: cancelled at the deadline"
        });
        tally.note_if(
            row.reconfirmed_at == Some(self.now),
            "edge: reconfirmed before the wake-up of the same batch",
        );
        tally.note_if(row.deadline == self.now, "edge: settled at the very deadline");
        let came_at = self.house(&row.server).and_then(|house| house.came_at);
        tally.note_if(
            came_at.is_some_and(|came_at| row.deadline < came_at),
            "edge: settled late, because its server came late",
        );
    }

    /// After everything due is settled.
    pub fn note_wake_up(&self, due_at: i64, tally: &mut Tally) {
        tally.note_if(due_at == self.now, "edge: wake-up read at its very instant");
        let spared =
            |row: &Row| row.unsettled() && due_at < row.deadline && row.deadline <= self.now;
        tally.note_if(
            self.rows.iter().any(spared),
            "edge: wake-up spares a later deadline that has passed",
        );
    }
}

fn note_receipts(receipts: &[Line], tally: &mut Tally) {
    const DAY: i64 = 24 * 3_600 * SECOND;
    let changed = |line: &Line| (line.period.1 - line.period.0) % DAY != 0;
    tally.note_if(receipts.len() > 1, "edge: straddles two periods");
    tally.note_if(receipts.iter().any(changed), "edge: touches a period that the clocks change");
    let full = |line: &Line| line.used + line.requested == line.limit;
    tally.note_if(receipts.iter().any(full), "edge: quota used up to the last second");
}

fn note_price(house: &House, span: Span, tally: &mut Tally) {
    let rest = house.rate * ((span.1 - span.0) / SECOND) % 3_600;
    tally.note_if(rest > 1_800, "edge: price rounded up");
    tally.note_if(rest == 1_800, "edge: price rounded at one half");
    tally.note_if(0 < rest && rest < 1_800, "edge: price rounded down");
}
