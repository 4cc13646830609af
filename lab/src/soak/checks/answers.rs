//! Checks of the terminals' answers.

use std::collections::HashSet;

use holdfast::domain::interval::Timestamp;
use holdfast::message::command::ReservationBody;
use uuid::Uuid;

use super::{Check, Seen};
use crate::former::Former;
use crate::record::{Heard, MALFORMED, MISMATCH, Record, Sent};

/// Every confirmed sending has an answer, repeats of a command included.
pub fn answered(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("every command that the broker took is answered, each time");
    for terminal in seen.terminals {
        let record = terminal.record();
        let books = record.sent.values().chain(record.reused.values());
        let due = |sent: &Sent| seen.ground.due(terminal, sent);
        check.checked += books.map(due).sum::<usize>();
        for (sent, answers) in record.unanswered(due) {
            let (id, sendings) = (&sent.intent.command.message_id, sent.sendings);
            let what = format!("{} {id}: sent {sendings} times, {answers} answers", terminal.id);
            check.wrong.push(what);
        }
    }
    check
}

/// Answers that are decisions, or results of queries.
fn decisions<'a>(record: &'a Record, id: &str) -> impl Iterator<Item = &'a Heard> {
    let heard = record.answers.get(id).into_iter().flatten();
    heard.filter(|heard| heard.is_decision())
}

/// Repeated replies have the same id and bytes.
pub fn repeated(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("repeated answers and notices are the same, byte for byte");
    for terminal in seen.terminals {
        let record = terminal.record();
        for (id, sent) in &record.sent {
            let heard: Vec<&Heard> = decisions(&record, id).collect();
            let again = heard.iter().map(|heard| heard.times).sum::<usize>() > 1;
            // Answers to queries differ each time.
            if again && !sent.intent.command.kind.is_query() {
                check.that(heard.len() == 1, || different(&terminal.id, id, &heard));
            }
        }
        let ids: HashSet<&str> = record.notices.iter().map(|heard| heard.id.as_str()).collect();
        for id in ids {
            let heard: Vec<&Heard> = record.notices.iter().filter(|heard| heard.id == id).collect();
            if heard.iter().map(|heard| heard.times).sum::<usize>() > 1 {
                check.that(heard.len() == 1, || different(&terminal.id, id, &heard));
            }
        }
    }
    check
}

fn different(terminal: &str, id: &str, heard: &[&Heard]) -> String {
    let shown: Vec<String> =
        heard.iter().map(|heard| format!("message {} {}", heard.id, heard.text())).collect();
    format!("{terminal} {id}: {}", shown.join(" but also "))
}

/// Answers match the stored ones, and only commands that were sent were decided.
pub fn stored(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("answers are those that are stored, and nothing else is stored");
    let decided = &seen.facts.decided;
    let mut sent = HashSet::new();
    for terminal in seen.terminals {
        let record = terminal.record();
        for (id, command) in &record.sent {
            let key = (terminal.id.clone(), id.clone());
            // What cannot be read is refused before it is decided.
            let unread = command.intent.allowed.contains(&MALFORMED);
            if command.intent.command.kind.is_query() || unread {
                continue;
            }
            let stored = decided.get(&key).map(|decided| decided.answer.as_str());
            for heard in decisions(&record, id) {
                let text = heard.text();
                check.that(stored == Some(text.as_str()), || {
                    format!("{} {id}: heard {text}, stored {stored:?}", terminal.id)
                });
            }
            sent.insert(key);
        }
    }
    for key in decided.keys() {
        check.that(sent.contains(key), || format!("{} {} was never sent", key.0, key.1));
    }
    check
}

/// No terminal receives another one's replies.
pub fn addressed(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("answers and notices reach only those whom they concern");
    for terminal in seen.terminals {
        let record = terminal.record();
        for id in record.answers.keys() {
            check.that(record.sent.contains_key(id), || {
                format!("{} got an answer to {id}, which it never sent", terminal.id)
            });
        }
        for notice in record.notices.iter().filter_map(Heard::notice) {
            let id = notice.reservation().id;
            let owner = seen.facts.reservations.get(&id).map(|known| known.terminal.as_str());
            check.that(owner == Some(terminal.id.as_str()), || {
                format!("{} got a notice about {id} of {owner:?}", terminal.id)
            });
        }
        for what in &record.unreadable {
            check.wrong.push(format!("{}: {what}", terminal.id));
        }
    }
    check
}

/// A command is turned away only if its server was on its way to another partition between its sending
/// and its answer.
pub fn turned_away(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("commands were turned away only while their server moved");
    check.by_chance = true;
    for terminal in seen.terminals {
        let record = terminal.record();
        for (id, sent) in &record.sent {
            let heard = record.answers.get(id).into_iter().flatten();
            for heard in heard.filter(|heard| heard.is_wrong_partition()) {
                let server = sent.intent.command.server.as_deref().unwrap_or_default();
                let moved = seen.ground.moves.between(server, sent.first_at, heard.first_at);
                check.that(moved, || {
                    format!("{} {id}: turned away, but {server} did not move", terminal.id)
                });
            }
        }
    }
    check
}

/// The code for a reservation that is not there, or another user's.
const UNKNOWN: &str = "unknown_reservation";

/// Whether the answer may be of a former primary, which lacks the reservation.
fn is_from_former(seen: &Seen<'_>, sent: &Sent) -> bool {
    let held_at = |id| {
        let reservation = seen.facts.reservations.get(&id)?;
        Some(seen.ground.jumps.true_time(reservation.held_at))
    };
    may_be_unknown(sent, &seen.ground.former, held_at)
}

/// Only a query asks a former primary (`docs/guarantees.md`), and only what was made since is not there.
fn may_be_unknown(
    sent: &Sent,
    former: &Former,
    held_at: impl Fn(Uuid) -> Option<Timestamp>,
) -> bool {
    let command = &sent.intent.command;
    let asked = serde_json::from_slice::<ReservationBody>(&command.body).ok();
    let held_at = asked.and_then(|asked| held_at(asked.reservation));
    command.kind.is_query() && held_at.is_some_and(|held_at| former.lacks(held_at, sent.first_at))
}

/// Every answer is allowed for its command, also for reused ids, other users' reservations and
/// queries.
pub fn allowed(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("every answer is one that fits the command");
    for terminal in seen.terminals {
        let record = terminal.record();
        for (id, sent) in &record.sent {
            let expected = sent.intent.allowed;
            for answer in decisions(&record, id).filter_map(Heard::answer) {
                let outcome = answer.outcome().to_owned();
                let fits = expected.contains(&outcome.as_str())
                    || outcome == UNKNOWN && is_from_former(seen, sent);
                check.that(fits, || {
                    format!("{} {id}: {outcome} instead of one of {expected:?}", terminal.id)
                });
            }
            let heard = || record.answers.get(id).into_iter().flatten();
            let mismatches = heard().filter(|heard| heard.is_mismatch()).count();
            let limited = heard().any(Heard::is_rate_limited);
            if limited {
                check
                    .that(terminal.has_flooded(), || format!("{} {id}: rate limited", terminal.id));
            }
            let reused = record.reused.get(id);
            // Under chaos, a command that was sent may never have arrived.
            let surely = reused.is_some_and(|sent| sent.sendings > 0) && !limited;
            let right = match mismatches {
                0 => !surely,
                _ => reused.is_some(),
            };
            let reused = reused.is_some();
            check.that(right, || {
                format!("{} {id}: {mismatches} of {MISMATCH}, id used twice: {reused}", terminal.id)
            });
        }
    }
    check
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use holdfast::client::Command;

    use super::*;
    use crate::record::Intent;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Whether it may be unknown when sent at a time, by a former primary from 100 to 200.
    fn unknown(command: Command, sent_at: i64, held_at: Option<i64>) -> bool {
        let former = Former::default();
        former.end(former.begin(at(100)), at(200));
        let intent = Intent { command, reservation: None, allowed: &["shown"] };
        let sent = Sent { intent, sendings: 1, first_at: at(sent_at), confirmed_at: None };
        may_be_unknown(&sent, &former, |_| held_at.map(at))
    }

    #[test]
    fn only_a_query_may_lack_what_was_made_since_a_failover() {
        let id = Uuid::nil();
        assert!(unknown(Command::show("m", id), 150, Some(140)));
        assert!(!unknown(Command::show("m", id), 250, Some(140)), "nobody asks it any more");
        assert!(!unknown(Command::show("m", id), 150, Some(90)), "it has it");
        assert!(!unknown(Command::show("m", id), 150, None), "nobody has it");
        assert!(!unknown(Command::reconfirm("m", "s0", id), 150, Some(140)), "a command");
        assert!(!unknown(Command::list("m", None, None), 150, Some(140)), "it names none");
    }
}
