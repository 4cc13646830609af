//! What to do when a batch's transaction fails.

use tokio_postgres::error::SqlState;

use crate::store::error::{StoreError, is_contention};
use crate::worker::metrics::labels::Remedy;

/// Tries under contention before a batch is halved.
const CONTENTION_TRIES_MAX: u32 = 5;

/// Tries of a lone message that the database refuses, before it is parked.
const REFUSAL_TRIES_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Retry the same inputs after a jittered wait.
    Retry,
    /// The database is unavailable, or what it stores is wrong: retry until the partition is
    /// released. If the batch was committed, the next try finds its message ids decided.
    Wait,
    /// Halve the batch to find the bad message.
    Halve,
    /// Park the undecidable message.
    Park,
}

impl From<Action> for Remedy {
    fn from(action: Action) -> Self {
        match action {
            Action::Retry => Self::Retry,
            Action::Wait => Self::Wait,
            Action::Halve => Self::Halve,
            Action::Park => Self::Park,
        }
    }
}

/// `tries` includes this one; `inputs` is the batch's size.
pub(super) fn judge(error: &StoreError, tries: u32, inputs: usize) -> Action {
    let halve_or = |alone: Action| if inputs > 1 { Action::Halve } else { alone };
    match classify(error) {
        Class::Contention if tries < CONTENTION_TRIES_MAX => Action::Retry,
        // A lone message under contention is not bad: retry until it succeeds.
        Class::Contention => halve_or(Action::Wait),
        Class::Away => Action::Wait,
        Class::Stored => halve_or(Action::Wait),
        Class::Refused if inputs > 1 => Action::Halve,
        Class::Refused if tries < REFUSAL_TRIES_MAX => Action::Retry,
        Class::Refused => Action::Park,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    /// A concurrent transaction interfered.
    Contention,
    /// Not this batch's fault: connection, resources, schema, time.
    Away,
    /// What is stored, not what was sent, cannot be computed with.
    Stored,
    /// This batch's data, or a rule that the database guards.
    Refused,
}

fn classify(error: &StoreError) -> Class {
    let Some(state) = error.sql_state() else {
        return match error {
            StoreError::Unexpected(_) => Class::Refused,
            _ => Class::Away,
        };
    };
    // A message id that was decided meanwhile: the next try finds its answer.
    if is_contention(state) || *state == SqlState::UNIQUE_VIOLATION {
        return Class::Contention;
    }
    if is_arithmetic(error) {
        return Class::Stored;
    }
    // 22: data, 23: integrity, ZR: the guard.
    match state.code().get(..2) {
        Some("22" | "23" | "ZR") => Class::Refused,
        _ => Class::Away,
    }
}

/// Whether the database could not compute with a number, an instant or a zone.
///
/// The decoder bounds every field of a message, so stored numbers are at fault, and all messages that
/// need them fail alike: they would be parked one by one. So the partition waits, loses nothing, and
/// its log names the error until somebody corrects what is stored. CHECKs keep such numbers out. See
/// `docs/decisions/0028-one-bound-per-quantity.md`.
pub(super) fn is_arithmetic(error: &StoreError) -> bool {
    error.sql_state().is_some_and(|state| ARITHMETIC.contains(state))
}

const ARITHMETIC: [SqlState; 6] = [
    SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
    SqlState::DATETIME_FIELD_OVERFLOW,
    SqlState::INTERVAL_FIELD_OVERFLOW,
    SqlState::DIVISION_BY_ZERO,
    SqlState::INVALID_PARAMETER_VALUE,
    SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
];

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
            assert_eq!(judge(&StoreError::Session("x".into()), tries, 1), Action::Wait);
        }
    }
}
