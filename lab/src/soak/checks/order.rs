//! Checks the order of decisions.

use std::collections::HashMap;

use holdfast::domain::interval::Timestamp;

use super::{Check, Seen};
use crate::record::Heard;

/// A command of a server, as its terminal saw it and as the database stored it.
struct Point {
    name: String,
    sent_at: Timestamp,
    heard_at: Timestamp,
    seq: i64,
}

/// A command that was sent after the answer to another one was read is decided after it, whichever
/// terminals sent them.
pub fn seen_before_sent(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("what was answered before something was sent was decided before it");
    for points in by_server(seen).into_values() {
        let mut by_answer: Vec<&Point> = points.iter().collect();
        by_answer.sort_unstable_by_key(|point| point.heard_at);
        let mut by_sending: Vec<&Point> = points.iter().collect();
        by_sending.sort_unstable_by_key(|point| point.sent_at);
        let mut answered = by_answer.into_iter().peekable();
        let mut latest: Option<&Point> = None;
        for point in by_sending {
            while let Some(before) = answered.next_if(|before| before.heard_at < point.sent_at) {
                latest = latest.filter(|latest| latest.seq > before.seq).or(Some(before));
            }
            if let Some(latest) = latest {
                check.that(latest.seq < point.seq, || {
                    format!("{} was answered before {} was sent", latest.name, point.name)
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
            let Some(heard_at) = heard.map(|heard: &Heard| heard.first_at).min() else { continue };
            let name = format!("{} {id}", terminal.id);
            let point = Point { name, sent_at: sent.first_at, heard_at, seq };
            points.entry(server).or_default().push(point);
        }
    }
    points
}
