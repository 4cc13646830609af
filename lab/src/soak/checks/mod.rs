//! The verdict. A check that had nothing to check fails: it would have passed whatever happened.
//!
//! | invariant | where |
//! |---|---|
//! | I1, I2, I3: no overbooking, now or in any past state, no quota overrun | `schema/invariants.sql` |
//! | I4, I5: all that was confirmed is decided, all that is decided was sent | [`answers`] |
//! | I6, I7: an answer for each sending, byte for byte the stored one | [`answers`] |
//! | I8: nobody hears what is for others | [`answers`] |
//! | I9: legal changes, an unbroken history | `schema/invariants.sql` |
//! | I10, I11, I12: charges and events one to one, as told to the biller | both, and [`billing`] |
//! | I13: never early, nothing outstanding | `schema/invariants.sql`, [`replay`] |
//! | I14: nothing left in the outbox | `schema/invariants.sql`, [`left`] |
//! | I15: accepted exactly if there is a reservation | `schema/invariants.sql` |
//! | I16: real-time order and queue order per server | [`order`] |
//! | I17: dead letters are the planned ones | [`dead`] |
//! | I18: no transaction or consumer left behind | `schema/invariants.sql`, [`baseline`] |
//! | I19: moves end, and the broker routes as the database says | `schema/invariants.sql`, [`routes`] |
//! | every decision once more, refusals too | [`replay`] |

mod answers;
mod baseline;
mod billing;
pub mod counters;
mod dead;
mod endings;
mod order;
mod replay;
mod rolled;
mod routes;
mod totals;
mod wording;

use std::path::Path;
use std::sync::Arc;

pub use rolled::rolled;

use crate::biller::Ledger;
use crate::chaos::timeline::Timeline;
use crate::facts::Facts;
use crate::life::Ground;
use crate::prometheus::Counted;
use crate::queues::DeadLetter;
use crate::tally::Tally;
use crate::terminal::Terminal;

/// Most findings printed for each check. The evidence contains all of them.
const PRINTED: usize = 5;

pub struct Check {
    pub name: &'static str,
    /// Number of things that were checked.
    pub checked: usize,
    pub wrong: Vec<String>,
    /// Passes even with nothing to check, where chance decides whether there is something.
    by_chance: bool,
}

impl Check {
    fn new(name: &'static str) -> Self {
        Self { name, checked: 0, wrong: Vec::new(), by_chance: false }
    }

    /// Checks one thing.
    fn that(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    pub fn holds(&self) -> bool {
        self.wrong.is_empty() && (self.checked > 0 || self.by_chance)
    }

    pub fn print(&self) {
        let Self { name, checked, wrong, by_chance } = self;
        match (wrong.len(), checked) {
            (0, 0) if !by_chance => println!("  BROKEN  {name}: there was nothing to check"),
            (0, _) => println!("  ok      {name} ({checked})"),
            (count, _) => println!("  BROKEN  {name}: {count} of {checked}"),
        }
        for what in wrong.iter().take(PRINTED) {
            println!("            {what}");
        }
    }
}

/// Queues that are not empty.
pub struct Left {
    pub found: Vec<(String, u32)>,
    /// Queues that have consumers.
    pub consumers: Vec<(String, u32)>,
    pub looked_at: usize,
}

/// The data to check.
pub struct Seen<'a> {
    pub facts: &'a Facts,
    pub terminals: &'a [Arc<Terminal>],
    pub ground: &'a Ground,
    pub left: &'a Left,
    pub dead: &'a [DeadLetter],
    /// What `holdfast topology verify` complains about.
    pub verified: Result<(), String>,
    pub timeline: &'a Timeline,
    /// Password of the workers' broker account.
    pub password: &'a str,
    /// Directory of the workers' logs.
    pub logs: &'a Path,
    /// Whether no worker was to be killed or stopped.
    pub peace: bool,
    /// What Prometheus scraped, where it did.
    pub scraped: Option<&'a Counted>,
    /// Name, memory in kilobytes and open files of each worker once nothing was left to do.
    pub sizes: &'a [(String, usize, usize)],
}

/// Prints totals and runs all checks.
pub fn all(seen: &Seen<'_>, ledger: &Ledger, tally: &Tally) -> Vec<Check> {
    totals::print(seen, ledger, tally);
    let answered = answers::answered(seen);
    let by_chance = |check: Check| Check { by_chance: seen.ground.chaos, ..check };
    let repeated = by_chance(answers::repeated(seen));
    let stored = answers::stored(seen);
    let told = billing::told(seen, ledger);
    let bills = by_chance(billing::repeated(ledger));
    let once = endings::told_once(seen);
    let replay = replay::decided_again(seen);
    let wrong = |checks: &[&Check]| checks.iter().map(|check| check.wrong.len()).sum::<usize>();
    println!(
        "{} messages sent, {} answers checked, {} deadlines settled, {} charges matched; \
         lost {}, doubled {}, decided wrongly {}",
        tally.sent.get(),
        stored.checked,
        seen.facts.endings.iter().filter(|ending| ending.lateness_ms.is_some()).count(),
        seen.facts.entries.len().saturating_sub(told.wrong.len()),
        wrong(&[&answered, &told]),
        wrong(&[&repeated, &bills, &once]),
        wrong(&[&replay]),
    );
    let counters = seen.scraped.map(|scraped| match seen.peace {
        true => counters::equal(scraped, &seen.facts.happened),
        false => counters::bounded(scraped, &seen.facts.happened),
    });
    let mut checks = vec![
        invariants(seen.facts),
        settled(seen.facts),
        answered,
        repeated,
        stored,
        answers::addressed(seen),
        answers::allowed(seen),
        answers::turned_away(seen),
        order::seen_before_sent(seen),
        order::confirmed_before_sent(seen),
        once,
        endings::in_time(seen),
        endings::wanted(seen),
        by_chance(endings::by_operators(seen)),
        told,
        bills,
        left(seen),
        routes::found(seen),
        routes::over(seen),
        routes::verified(seen),
        dead::planned(seen),
        replay,
        baseline::sessions(seen),
        baseline::sizes(seen),
        baseline::logs(seen),
        besieged(seen, ledger, tally),
        on_the_way(tally),
    ];
    checks.extend(counters);
    checks
}

fn invariants(facts: &Facts) -> Check {
    Check {
        name: "the queries of schema/invariants.sql find nothing",
        checked: facts.invariants,
        wrong: facts.violations.clone(),
        by_chance: false,
    }
}

fn settled(facts: &Facts) -> Check {
    let mut check = Check::new("every reservation is confirmed or cancelled");
    for (id, reservation) in &facts.reservations {
        let over = ["confirmed", "cancelled"].contains(&reservation.state.as_str());
        check.that(over, || format!("{id} is {}", reservation.state));
    }
    check
}

fn left(seen: &Seen<'_>) -> Check {
    let mut check =
        Check::new("partitions, queries, delay ladder, billing queue and outbox are empty");
    check.checked = seen.left.looked_at;
    let found = seen.left.found.iter();
    check.wrong.extend(found.map(|(queue, ready)| format!("{queue}: {ready} messages")));
    let outbox = seen.facts.outbox;
    check.that(outbox == 0, || format!("the outbox: {outbox} messages"));
    check
}

/// Requires kills: a run without any proves little.
fn besieged(seen: &Seen<'_>, ledger: &Ledger, tally: &Tally) -> Check {
    if seen.ground.chaos {
        let mut check = Check::new("faults were brought about");
        check.checked = seen.timeline.done();
        check.wrong.extend(seen.timeline.missing());
        return check;
    }
    let again = ledger.entries.values().any(|entry| entry.times > 1);
    if seen.peace {
        let mut check = Check::new("bills came again");
        check.that(again, || "no bill came twice".to_owned());
        return check;
    }
    let mut check = Check::new("workers were killed and stopped, and bills came again");
    check.that(tally.kills.get() > 0, || "no worker was killed".to_owned());
    check.that(tally.stops.get() > 0, || "no worker was stopped".to_owned());
    check.that(again, || "no bill came twice".to_owned());
    check
}

fn on_the_way(tally: &Tally) -> Check {
    let mut check =
        Check::new("no worker failed, and no terminal, biller or operator was let down");
    check.checked = tally.sent.get() + tally.stops.get();
    check.wrong = tally.failures();
    check
}
