//! Letters, one on each line.

use serde::Serialize;
use uuid::Uuid;

use crate::cli::output::{table, time};
use crate::domain::interval::Timestamp;
use crate::message::envelope::printable;
use crate::store::admin::dead_letters::Filed;

/// A letter on one line.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) id: Uuid,
    died_at: Timestamp,
    pub(super) reason: String,
    terminal: Option<String>,
    routing_key: String,
    message_id: Option<String>,
    times: i32,
    state: String,
    replays: i32,
}

impl Line {
    pub(super) fn of(filed: &Filed) -> Self {
        let Filed { letter, died_at, times, state, attempts, .. } = filed;
        Self {
            id: letter.id,
            died_at: *died_at,
            reason: letter.reason.clone(),
            terminal: letter.account.clone(),
            routing_key: letter.routing_key.clone(),
            message_id: letter.message_id.clone(),
            times: *times,
            state: state.clone(),
            replays: *attempts,
        }
    }
}

/// Senders choose these texts, so what is no plain text is not shown as it is.
pub(super) fn shown(text: Option<&str>) -> String {
    text.map_or("-".to_owned(), printable)
}

pub(super) fn text(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "no dead letters".to_owned();
    }
    let row = |line: &Line| {
        let state = match line.times {
            1 => line.state.clone(),
            times => format!("{}, {times} times", line.state),
        };
        vec![
            line.id.to_string(),
            time(line.died_at),
            line.reason.clone(),
            state,
            shown(line.terminal.as_deref()),
            shown(Some(&line.routing_key)),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(&["LETTER", "DIED", "REASON", "STATE", "TERMINAL", "ROUTING KEY"], &rows)
}
