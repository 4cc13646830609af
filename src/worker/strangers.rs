//! Logs terminals that the database does not know. A flood of theirs must not fill the log.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::error;

/// Time between two log lines about one terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Most terminals remembered; more at a time are not logged. Their dead letters name them.
const REMEMBERED_MAX: usize = 1_000;

/// When each was last logged.
#[derive(Default)]
pub struct Strangers(Mutex<HashMap<String, Instant>>);

impl Strangers {
    /// Logs an unknown terminal, unless it was logged a moment ago.
    pub fn note(&self, terminal: &str) {
        if self.is_due(terminal, Instant::now()) {
            error!(
                terminal,
                "unknown terminal: its messages are answered with unknown_terminal and kept as dead \
                 letters; does DATABASE_URL name this broker's database?"
            );
        }
    }

    fn is_due(&self, terminal: &str, now: Instant) -> bool {
        let mut logged = self.0.lock().expect("nothing panics with it");
        logged.retain(|_, at| now.duration_since(*at) < LOG_INTERVAL);
        let due = !logged.contains_key(terminal) && logged.len() < REMEMBERED_MAX;
        if due {
            logged.insert(terminal.to_owned(), now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_logged_once_a_minute() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        assert!(strangers.is_due("a", now));
        assert!(!strangers.is_due("a", now + LOG_INTERVAL / 2));
        assert!(strangers.is_due("b", now + LOG_INTERVAL / 2));
        assert!(strangers.is_due("a", now + LOG_INTERVAL));
    }

    #[test]
    fn many_terminals_take_bounded_memory() {
        let (strangers, now) = (Strangers::default(), Instant::now());
        let due = (0..2 * REMEMBERED_MAX).filter(|n| strangers.is_due(&n.to_string(), now));
        assert_eq!(due.count(), REMEMBERED_MAX);
    }
}
