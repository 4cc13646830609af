//! Checks the order of decisions.

use std::collections::HashMap;

use holdfast::domain::interval::Timestamp;

use super::{Check, Seen};
use crate::record::{Heard, Record, Sent};
use crate::terminal::Terminal;

/// A command of a server, as its terminal saw it and as the database stored it.
struct Point {
    name: String,
    sent_at: Timestamp,
    heard_at: Option<Timestamp>,
    /// When it stood in its server's queue, if it stayed there until it was decided.
    queued_at: Option<Timestamp>,
    seq: i64,
}

/// A command that was sent after the answer to another one was read is decided after it, whichever
/// terminals sent them.
pub fn seen_before_sent(seen: &Seen<'_>) -> Check {
    let name = "what was answered before something was sent was decided before it";
    before_sent(seen, Check::new(name), |point| point.heard_at)
}

/// A command that was sent after the broker had confirmed another one is decided after it: both stand in
/// the queue of their server, which takes its commands along when it moves (R9).
pub fn confirmed_before_sent(seen: &Seen<'_>) -> Check {
    let name = "what the broker had before something was sent was decided before it";
    before_sent(seen, Check::new(name), |point| point.queued_at)
}

fn before_sent(
    seen: &Seen<'_>,
    mut check: Check,
    known_at: impl Fn(&Point) -> Option<Timestamp>,
) -> Check {
    for points in by_server(seen).into_values() {
        let mut known: Vec<(Timestamp, &Point)> =
            points.iter().filter_map(|point| Some((known_at(point)?, point))).collect();
        known.sort_unstable_by_key(|(at, _)| *at);
        let mut by_sending: Vec<&Point> = points.iter().collect();
        by_sending.sort_unstable_by_key(|point| point.sent_at);
        let mut known = known.into_iter().peekable();
        let mut latest: Option<&Point> = None;
        for point in by_sending {
            while let Some((_, before)) = known.next_if(|(at, _)| *at < point.sent_at) {
                latest = latest.filter(|latest| latest.seq > before.seq).or(Some(before));
            }
            if let Some(latest) = latest {
                check.that(latest.seq < point.seq, || {
                    format!("{} came before {} was sent", latest.name, point.name)
                });
            }
        }
    }
    check
}

fn by_server(seen: &Seen<'_>) -> HashMap<String, Vec<Point>> {
    let mut points: HashMap<String, Vec<Point>> = HashMap::new();
    for terminal in seen.terminals {
        let record = terminal.record();
        for (id, sent) in &record.sent {
            let decided = seen.facts.decided.get(&(terminal.id.clone(), id.clone()));
            let Some((seq, server)) =
                decided.and_then(|decided| Some((decided.seq, decided.server.clone()?)))
            else {
                continue;
            };
            let heard = record.answers.get(id).into_iter().flatten();
            let heard = heard.filter(|heard| heard.is_decision());
            let point = Point {
                name: format!("{} {id}", terminal.id),
                sent_at: sent.first_at,
                heard_at: heard.map(|heard: &Heard| heard.first_at).min(),
                queued_at: queued_at(seen, terminal, &record, sent),
                seq,
            };
            points.entry(server).or_default().push(point);
        }
    }
    points
}

/// `None` if it may have left the queue without a decision, and have come again.
fn queued_at(
    seen: &Seen<'_>,
    terminal: &Terminal,
    record: &Record,
    sent: &Sent,
) -> Option<Timestamp> {
    let heard = record.answers.get(&sent.intent.command.message_id);
    let mut heard = heard.into_iter().flatten();
    let refused = heard.any(|heard| !heard.is_decision() && !heard.is_mismatch());
    let lost = seen.ground.may_be_lost(terminal, sent);
    sent.confirmed_at.filter(|_| !refused && !lost && !terminal.has_flooded())
}
