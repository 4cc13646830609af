//! What to do when a batch's transaction fails, decided as data.

use tokio_postgres::error::SqlState;

use crate::store::error::{StoreError, is_contention};

/// Tries of one batch under contention, before it is halved.
const CONTENTION_TRIES_MAX: u32 = 5;

/// Tries of a lone message that the database refuses for what looks like a reason of its own.
const REFUSAL_TRIES_MAX: u32 = 3;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Try the same inputs again after a jittered wait.
    Retry,
    /// The database is away: wait and try again, until the partition is let go of. If the batch
    /// was committed, the next try finds its message ids decided.
    Wait,
    /// Halve the batch, so that one bad message ends up alone.
    Halve,
    /// This one message cannot be decided: park it.
    Park,
}

/// Judges a failure. `tries` counts this one; `inputs` is how many there were in the batch.
pub(super) fn judge(error: &StoreError, tries: u32, inputs: usize) -> Action {
    let halve_or = |alone: Action| if inputs > 1 { Action::Halve } else { alone };
    match classify(error) {
        Class::Contention if tries < CONTENTION_TRIES_MAX => Action::Retry,
        // A lone message under contention is not bad: it is tried until it wins.
        Class::Contention => halve_or(Action::Wait),
        Class::Away => Action::Wait,
        Class::Refused if inputs > 1 => Action::Halve,
        Class::Refused if tries < REFUSAL_TRIES_MAX => Action::Retry,
        Class::Refused => Action::Park,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    /// A concurrent transaction was in the way.
    Contention,
    /// Not about this batch: connection, resources, schema, time.
    Away,
    /// About this batch's data, or a rule that the database guards.
    Refused,
}

fn classify(error: &StoreError) -> Class {
    let Some(state) = error.sql_state() else {
        return match error {
            StoreError::Unexpected(_) => Class::Refused,
            _ => Class::Away,
        };
    };
    // Of a message id: the same command was decided meanwhile, and the next try finds its answer.
    if is_contention(state) || *state == SqlState::UNIQUE_VIOLATION {
        return Class::Contention;
    }
    // 22 data, 23 integrity, ZR the database's own guard.
    match state.code().get(..2) {
        Some("22" | "23" | "ZR") => Class::Refused,
        _ => Class::Away,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unexpected() -> StoreError {
        StoreError::Unexpected("a row".into())
    }

    #[test]
    fn a_refused_batch_is_halved_until_the_bad_message_is_alone() {
        assert_eq!(judge(&unexpected(), 1, 256), Action::Halve);
        assert_eq!(judge(&unexpected(), 1, 2), Action::Halve);
        assert_eq!(judge(&unexpected(), 1, 1), Action::Retry);
        assert_eq!(judge(&unexpected(), 3, 1), Action::Park);
    }

    #[test]
    fn a_database_that_is_away_is_waited_for() {
        for tries in [1, 10, 1_000] {
            assert_eq!(judge(&StoreError::Timeout("x"), tries, 1), Action::Wait);
        }
    }
}
