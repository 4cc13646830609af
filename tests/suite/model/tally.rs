//! How often each answer and each edge came up, so that the test cannot go blind unnoticed.

use std::collections::BTreeMap;

use super::said::{Answer, Expected, Said};

/// Codes that deciding can answer with.
const CODES: &[&str] = &[
    "terminal_disabled",
    "idempotency_mismatch",
    "inconsistent_message",
    "unknown_server",
    "wrong_partition",
    "server_closed",
    "off_grid",
    "too_short",
    "too_long",
    "start_in_past",
    "beyond_horizon",
    "closure",
    "too_late_to_reconfirm",
    "too_many_holds",
    "quota_exceeded",
    "capacity_exceeded",
    "unknown_reservation",
    "already_confirmed",
    "already_cancelled",
];

/// Verdicts and kinds of answers.
const VERDICTS: &[&str] = &[
    "decided: accepted",
    "decided: reconfirmed",
    "decided: withdrawn",
    "decided: refused",
    "undecided: refused",
    "replay",
    "repeated",
    "unknown_terminal",
    "copy",
    "wake_up: finished",
    "wake_up: reschedule",
    "wake_up: to_tail",
    "fence: moved",
    "fence: ignored",
    "query: shown",
    "query: listed",
    "query: free places",
    "query: refused",
    "query: unknown_terminal",
    "reason: not_reconfirmed",
    "reason: withdrawn",
    "reason: operator",
];

/// Places where an implementation likes to be off by one, or to forget something.
const EDGES: &[&str] = &[
    "edge: start touches the end of another's busy time",
    "edge: end of busy time touches another's start",
    "edge: fits in depth, not by count of overlapping rows",
    "edge: full only because of the turn-around behind it",
    "edge: full only because of the turn-around before it",
    "edge: straddles two periods",
    "edge: touches a period that the clocks change",
    "edge: quota used up to the last second",
    "edge: only the second period is over its quota",
    "edge: late booking confirmed",
    "edge: late booking at the very deadline",
    "edge: late booking beside a full set of holds",
    "edge: hold with no lead time",
    "edge: last place among the holds",
    "edge: start on the horizon",
    "edge: touches a closure",
    "edge: time freed by the same batch",
    "edge: price rounded up",
    "edge: price rounded at one half",
    "edge: price rounded down",
    "edge: reconfirmed after the deadline had passed",
    "edge: reconfirmed before the wake-up of the same batch",
    "edge: reconfirmation behind the wake-up of the same batch",
    "edge: wake-up read at its very instant",
    "edge: settled at the very deadline",
    "edge: confirmed at the deadline",
    "edge: cancelled at the deadline",
    "edge: wake-up spares a later deadline that has passed",
    "edge: intermediate hop read after its instant",
    "edge: a hop that a clock ahead has sent",
    "edge: more is due than the slice holds",
    "edge: a command behind its server's fence",
    "edge: a command ahead of its server's fence",
    "edge: a repeat through the wrong queue gets its answer",
    "edge: a batch ends before a command that comes early",
    "edge: a deadline waits for its server to have left",
    "edge: settled late, because its server came late",
    "edge: a page with another one behind it",
    "edge: a page behind another one",
    "edge: more is booked than a query loads",
    "edge: no place is free for a while",
];

/// Counts by name.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn note(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub fn note_if(&mut self, seen: bool, name: &'static str) {
        if seen {
            self.note(name);
        }
    }

    pub fn merge(&mut self, other: Tally) {
        for (name, count) in other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// Counts what was said about a batch.
    pub fn count(&mut self, outcome: &Expected) {
        for said in &outcome.said {
            match said {
                Said::Decided(answer) => self.answer(answer, "decided"),
                Said::Undecided(answer) => self.answer(answer, "undecided"),
                Said::Replay { .. } => self.note("replay"),
                Said::Repeated(_) => self.note("repeated"),
                Said::UnknownTerminal => self.note("unknown_terminal"),
                Said::Copy => self.note("copy"),
                Said::WakeUp(word) => self.listed("wake_up", word),
                Said::Fence(moved) => {
                    self.listed("fence", if *moved { "moved" } else { "ignored" });
                }
            }
        }
    }

    fn answer(&mut self, answer: &Answer, verdict: &str) {
        self.listed(verdict, answer.kind);
        if answer.kind == "refused" {
            self.note(answer.code);
        }
        if let Some(reason) = answer.reason {
            self.listed("reason", reason);
        }
    }

    pub fn listed(&mut self, group: &str, word: &str) {
        let name = format!("{group}: {word}");
        let listed = VERDICTS.iter().find(|known| **known == name);
        self.note(listed.unwrap_or_else(|| panic!("{name} is not on the list")));
    }

    /// Every listed name must have come up, once in a thousand batches at least, and no other.
    pub fn check(&self, batches: u64) {
        let floor = batches / 1_000;
        for name in CODES.iter().chain(VERDICTS).chain(EDGES) {
            let count = self.0.get(name).copied().unwrap_or(0);
            let all = &self.0;
            assert!(count >= floor, "{name}: only {count} in {batches} batches, of {all:#?}");
        }
        for name in self.0.keys() {
            let listed = CODES.iter().chain(VERDICTS).chain(EDGES).any(|n| n == name);
            assert!(listed, "{name} came up and is not on the list");
        }
    }
}
